"""What the columns of a file mean: our own names, and the schemas that users are brought from.

A recipe names the columns that are taken, each with the field it fills, and those that are known
and left. Whatever else a file has must be mapped or ignored by whoever imports: nothing is dropped
silently.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from denizen.errors import InvalidError, Issue
from denizen.imports.files import FileError

Field = Literal[
    "id", "foreign_id", "email", "username", "hashed_password", "role", "locale", "is_active",
    "is_disabled", "banned_until", "deleted_at", "email_verified", "email_verified_at",
    "created_at", "created_ms", "updated_at", "version", "firebase_hash", "firebase_salt",
]  # fmt: skip
RecipeName = Literal["denizen", "fastapi-users", "django", "supabase", "firebase"]
FIELDS: Final[tuple[Field, ...]] = get_args(Field)
REPORT_COLUMNS: Final = ("line", "field", "error")

_TELLABLE: Final = re.compile(r"[\w.: -]{1,64}")
_MOST_TOLD: Final = 10
_PARAMETER: Final = re.compile(
    r"""["']?(base64_signer_key|base64_salt_separator|rounds|mem_cost)["']?\s*[:=]\s*"""
    r"""["']?([A-Za-z0-9+/_=-]+)"""
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A schema: which column fills which field, and which are known and left."""

    name: RecipeName
    takes: Mapping[str, Field]
    leaves: frozenset[str]


_LEFT_BY_SUPABASE: Final = frozenset({
    "instance_id", "aud", "role", "invited_at", "confirmation_token", "confirmation_sent_at",
    "recovery_token", "recovery_sent_at", "email_change_token", "email_change_token_new",
    "email_change_token_current", "email_change", "email_change_sent_at",
    "email_change_confirm_status", "last_sign_in_at", "raw_app_meta_data", "raw_user_meta_data",
    "is_super_admin", "updated_at", "phone", "phone_confirmed_at", "phone_change",
    "phone_change_token", "phone_change_sent_at", "confirmed_at", "reauthentication_token",
    "reauthentication_sent_at", "is_sso_user", "is_anonymous",
})  # fmt: skip
_LEFT_BY_FIREBASE: Final = frozenset({
    "localId", "displayName", "photoUrl", "lastSignedInAt", "phoneNumber", "providerUserInfo",
    "customAttributes", "mfaInfo",
})  # fmt: skip
RECIPES: Final = (
    Recipe(
        "denizen",
        {
            "id": "id",
            "email": "email",
            "username": "username",
            "hashed_password": "hashed_password",
            "password": "hashed_password",
            "role": "role",
            "is_active": "is_active",
            "email_verified": "email_verified",
            "email_verified_at": "email_verified_at",
            "locale": "locale",
            "created_at": "created_at",
            "updated_at": "updated_at",
            "version": "version",
        },
        frozenset(REPORT_COLUMNS),  # a report whose rows were mended can be imported
    ),
    Recipe(  # SQLAlchemyBaseUserTable
        "fastapi-users",
        {
            "id": "foreign_id",
            "email": "email",
            "hashed_password": "hashed_password",
            "is_active": "is_active",
            "is_verified": "email_verified",
        },
        frozenset({"is_superuser"}),
    ),
    Recipe(  # auth_user
        "django",
        {
            "id": "foreign_id",
            "username": "username",
            "email": "email",
            "password": "hashed_password",
            "is_active": "is_active",
            "date_joined": "created_at",
        },
        frozenset({"last_login", "is_superuser", "is_staff", "first_name", "last_name"}),
    ),
    Recipe(  # auth.users
        "supabase",
        {
            "id": "id",
            "email": "email",
            "encrypted_password": "hashed_password",
            "email_confirmed_at": "email_verified_at",
            "banned_until": "banned_until",
            "deleted_at": "deleted_at",
            "created_at": "created_at",
        },
        _LEFT_BY_SUPABASE,
    ),
    Recipe(  # firebase auth:export FILE.json
        "firebase",
        {
            "email": "email",
            "emailVerified": "email_verified",
            "passwordHash": "firebase_hash",
            "salt": "firebase_salt",
            "disabled": "is_disabled",
            "createdAt": "created_ms",
        },
        _LEFT_BY_FIREBASE,
    ),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which column of a file fills which field, and by which recipe."""

    recipe: RecipeName
    fields: Mapping[Field, int]


def plan(
    columns: Sequence[str], recipe: RecipeName | None, said: Mapping[str, Field | None]
) -> Plan:
    """Find out what the columns mean.

    Args:
        columns: as the file names them.
        recipe: the schema; by default the first that knows all the columns.
        said: what columns fill, and None for those to ignore: it comes before the recipe.

    Raises:
        FileError: a column is unknown, two fill one field, or none holds addresses.
    """
    known = [one for one in RECIPES if recipe in {None, one.name}]
    unknown = {one.name: [c for c in columns if not _knows(one, c, said)] for one in known}
    best = min(known, key=lambda one: len(unknown[one.name]))  # the first of those
    if unknown[best.name]:
        told = _told(unknown[best.name])
        raise FileError("columns_unknown", f"unknown columns, map or ignore them: {told}", 1)
    fields: dict[Field, int] = {}
    for position, column in enumerate(columns):
        field = said[column] if column in said else best.takes.get(column)
        if field is None:
            continue
        if field in fields:
            raise FileError("columns", f"two columns fill {field}", 1)
        fields[field] = position
    if "email" not in fields:
        raise FileError("columns", "there is no column for e-mail addresses", 1)
    return Plan(best.name, fields)


def require_plan(
    columns: Sequence[str],
    recipe: RecipeName | None,
    said: Mapping[str, Field | None],
    firebase: str | None,
) -> Plan:
    """Find out what the columns mean, and see that the hashes among them can be verified.

    Raises:
        FileError: as `plan`; or Firebase's hashes came without the project's parameters.
    """
    found = plan(columns, recipe, said)
    if "firebase_hash" in found.fields and firebase is None:
        message = "Firebase's hashes need the project's password hash parameters"
        raise FileError("hash_config_missing", message)
    return found


def firebase_parameters(text: str) -> str:
    """Read a Firebase project's `hash_config`, as its console shows it or as JSON.

    Gives the middle of a stored hash: `n=…,r=…,p=1,ss=…,sk=…`.

    Raises:
        InvalidError: a parameter is missing.
    """
    found = dict(_PARAMETER.findall(text))
    try:
        cost, rounds = int(found["mem_cost"]), int(found["rounds"])
        separator, key = found["base64_salt_separator"], found["base64_signer_key"]
    except (KeyError, ValueError):
        message = "This needs base64_signer_key, base64_salt_separator, rounds and mem_cost."
        raise InvalidError(Issue("hash_config", "hash_config_invalid", message)) from None
    return f"n={cost},r={rounds},p=1,ss={separator},sk={key}"


def _knows(recipe: Recipe, column: str, said: Mapping[str, Field | None]) -> bool:
    return column in said or column in recipe.takes or column in recipe.leaves


def _told(columns: Iterable[str]) -> str:
    """Name columns; what does not look like a name may be somebody's data."""
    names = [column if _TELLABLE.fullmatch(column) else "(not a name)" for column in columns]
    return ", ".join(names[:_MOST_TOLD]) + (", …" if len(names) > _MOST_TOLD else "")
