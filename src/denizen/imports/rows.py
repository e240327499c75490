"""One record of a file as a row to be staged, or why it is not taken.

What is the rule for a user made one by one is the rule here, by the very same functions. A million
records pass through: everything that can be decided once is decided in the constructor.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from uuid_utils import uuid4, uuid7

from denizen.errors import InvalidError
from denizen.imports.recipes import FIELDS, Plan
from denizen.passwords.foreign import read_hash
from denizen.spreadsheet import plain
from denizen.users.values import (
    HASH_MAX,
    LOCALES,
    ROLES,
    read_email,
    read_username,
)

# the columns of a staged row; NULL where the file says nothing
STAGED: Final = (
    "record", "line", "id", "email", "email_key", "username", "username_key", "is_named",
    "hashed_password", "role", "locale", "is_active", "email_verified_at", "created_at",
    "updated_at", "version",
)  # fmt: skip

_NULL: Final = r"\N"
_SPECIAL: Final = re.compile(r"[\\\t\n\r]")
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_UUID: Final = re.compile(r"(?!0{8})[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TRUE: Final = frozenset({"true", "t", "1"})
_FALSE: Final = frozenset({"false", "f", "0"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LEEWAY: Final = timedelta(days=1)  # clocks elsewhere
_VERSION_MAX: Final = 2**31 - 1


class RefusedError(Exception):
    """Raised when a record can't be taken; `code` is one of `REASONS`."""

    def __init__(self, field: str, code: str) -> None:
        super().__init__(f"{field}: {code}")
        self.field = field
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """What an import says beside its file.

    Attributes:
        now: the instant of the import, whenever its rows are read.
        is_verified: addresses are known to be their owners', where the file has no word of it.
        is_csv: a `'` before what a spreadsheet would compute is taken off.
        firebase: a Firebase project's parameters, as a stored hash has them.
    """

    now: datetime
    is_verified: bool
    is_csv: bool
    firebase: str | None = None


class RowReader:
    """Turns the records of one file into staged rows, in COPY's text form."""

    def __init__(self, plan: Plan, columns: int, rules: RowRules) -> None:
        self._columns = columns
        # fields that the file lacks are read from a cell behind its last
        self._pick = itemgetter(*(plan.fields.get(field, columns) for field in FIELDS))
        says_verified = "email_verified" in plan.fields or "email_verified_at" in plan.fields
        self._is_verified = rules.is_verified and not says_verified
        self._is_csv = rules.is_csv
        self._firebase = rules.firebase
        self._now = rules.now
        self._now_text = rules.now.isoformat()
        self._ids: set[str] = set()

    def begin_batch(self) -> None:
        """Forget the ids of the batch before: in a batch each occurs once."""
        self._ids.clear()

    def read(self, cells: Sequence[Any] | None) -> str:
        """Give the row's cells from `id` on, joined.

        Raises:
            RefusedError: it can't be taken.
        """
        if cells is None:
            raise RefusedError("row", "json_invalid")
        if len(cells) != self._columns:
            raise RefusedError("row", "columns")
        (
            own_id, foreign_id, email, username, hashed, role, locale, is_active, is_disabled,
            banned_until, deleted_at, verified, verified_at, created_at, created_ms, updated_at,
            version, firebase_hash, firebase_salt,
        ) = self._pick((*cells, None))  # fmt: skip
        if deleted_at:
            raise RefusedError("deleted_at", "deleted")
        id_text = self._id(own_id, foreign_id)
        email, key = self._email(email)
        name, name_key, is_named = self._username(username, key)
        if firebase_hash and self._firebase is not None:
            hashed = f"$fbscrypt$v=1,{self._firebase}${firebase_salt}${firebase_hash}"
        row = (
            id_text,
            email,
            key,
            name,
            name_key,
            is_named,
            _hash(hashed),
            _one_of(ROLES, "role", role),
            _one_of(LOCALES, "locale", locale),
            self._active(is_active, is_disabled, banned_until),
            self._verified(verified, verified_at),
            self._instant("created_at", created_at) or self._milliseconds(created_ms) or _NULL,
            self._instant("updated_at", updated_at) or _NULL,
            _version(version),
        )
        if id_text in self._ids:
            raise RefusedError("id", "id_taken")
        self._ids.add(id_text)
        return "\t".join(row)

    def _id(self, own: Any, foreign: Any) -> str:
        """Keep a UUID, whatever its version, so that what points at it elsewhere still does."""
        value = own or foreign
        if isinstance(value, str) and _UUID.fullmatch(value):
            return value.lower()
        if own:
            raise RefusedError("id", "id_invalid")
        return str(uuid7())

    def _email(self, value: Any) -> tuple[str, str]:
        if not value:
            raise RefusedError("email", "email_missing")
        try:
            return read_email(self._text(value))
        except InvalidError:
            raise RefusedError("email", "email_invalid") from None

    def _username(self, value: Any, email: str) -> tuple[str, str, str]:
        """Give name and key, and whether it is from the file.

        Schemas without names, and those where it is the address, get one that tells nothing of the
        person: names are public.
        """
        try:
            name = self._text(value or "")
            if not name or ("@" in name and name.casefold() == email):
                name = f"user-{uuid4().hex[-15:]}"
                return name, name, "f"
            name, key = read_username(name)
            return _escaped(name), _escaped(key), "t"
        except InvalidError:
            raise RefusedError("username", "username_invalid") from None

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            return "\0"  # which no rule takes
        return plain(value) if self._is_csv else value

    def _active(self, active: Any, disabled: Any, banned_until: Any) -> str:
        if banned_until:
            return "t" if self._is_past(banned_until) else "f"
        if (is_disabled := _flag("is_active", disabled)) is not None:
            return "f" if is_disabled else "t"
        is_active = _flag("is_active", active)
        return _NULL if is_active is None else "t" if is_active else "f"

    def _is_past(self, value: Any) -> bool:
        if value == "infinity":
            return False
        return _parsed("is_active", value) <= self._now

    def _verified(self, flag: Any, at: Any) -> str:
        instant = self._instant("email_verified_at", at)
        said = _flag("email_verified", flag)
        if said or (said is None and (instant or self._is_verified)):
            return instant or self._now_text
        return _NULL

    def _instant(self, field: str, value: Any) -> str | None:
        if not value:
            return None
        found = _parsed(field, value)
        if not _EPOCH <= found <= self._now + _LEEWAY:
            raise RefusedError(field, "instant_invalid")
        return found.isoformat()

    def _milliseconds(self, value: Any) -> str | None:
        if not value:
            return None
        try:
            instant = datetime.fromtimestamp(int(value) / 1000, UTC)
        except (ValueError, TypeError, OverflowError, OSError):
            raise RefusedError("created_at", "instant_invalid") from None
        return self._instant("created_at", instant.isoformat())


def _hash(value: Any) -> str:
    if not value or (isinstance(value, str) and value[0] == "!"):  # Django: nobody can sign in
        return _NULL
    found = read_hash(value) if isinstance(value, str) and len(value) <= HASH_MAX else None
    if found is None:
        raise RefusedError("hashed_password", "hash_unknown")
    if not found.is_bearable:
        raise RefusedError("hashed_password", "hash_costly")
    return _escaped(value)


def _one_of(values: Sequence[str], field: str, value: Any) -> str:
    if value is None or value == "":
        return _NULL
    if value not in values:
        raise RefusedError(field, f"{field}_invalid")
    return str(value)


def _flag(field: str, value: Any) -> bool | None:
    if value is None or value == "":
        return None
    text = str(value).lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise RefusedError(field, f"{field}_invalid")


def _parsed(field: str, value: Any) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise RefusedError(field, "instant_invalid") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _version(value: Any) -> str:
    if value is None or value == "":
        return _NULL
    text = str(value)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:11]) <= _VERSION_MAX):
        raise RefusedError("version", "version_invalid")
    return text


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text
