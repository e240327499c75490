"""Use cases of API keys: make, list, revoke, and find out what a key may do."""

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy import Row
from uuid_utils.compat import uuid7

from denizen.audit.model import NOBODY, OPERATOR, Actor
from denizen.audit.queries import record
from denizen.db.direct import CompiledStatement
from denizen.db.errors import DataError
from denizen.db.model import table_of
from denizen.db.unit import Db
from denizen.errors import InvalidError, Issue, NotFoundError, NotSignedInError
from denizen.keys import queries
from denizen.keys.model import KEY_PREFIX, NAME_MAX, SCOPES
from denizen.parts import Parts
from denizen.secret import decode, digest_of, encode, new_secret
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is listed: never its secret.

    Attributes:
        shown: how its text begins.
        created_by: the user who made it; None: the operator.
        maker: what they are called, where it was asked and they are still there.
    """

    id: uuid.UUID
    name: str
    shown: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: uuid.UUID | None
    maker: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def is_live(self, now: datetime) -> bool:
        """Whether requests with it pass."""
        is_over = self.expires_at is not None and self.expires_at <= now
        return self.revoked_at is None and not is_over


@dataclass(frozen=True, slots=True)
class LiveKey:
    """What a request with a key may do."""

    id: uuid.UUID
    scopes: frozenset[str]


class KeyScenarios(Generic[U]):
    """API keys of one installation."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts
        self._live_key: CompiledStatement | None = None

    async def create_key(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        life: timedelta | None = None,
        actor: Actor = OPERATOR,
        db: Db | None = None,
    ) -> tuple[str, Key]:
        """Make a key and give its text, this once, with what is listed of it.

        Raises:
            InvalidError: no name, no scope, or a scope that does not exist.
        """
        _check(name, scopes)
        key_id, secret = uuid7(), new_secret()
        values = {
            "id": key_id,
            "name": name,
            "secret_digest": digest_of(secret),
            "scopes": sorted(set(scopes)),
            "created_by": actor.id,
        }

        async def unit(db: Db) -> Row[Any]:
            row = await queries.add_key(db, self._parts.tables.keys, values, life)
            after = {"key_id": str(key_id), "name": name, "scopes": values["scopes"]}
            await record(db, self._parts.tables.audit, "key.created", actor, NOBODY, after=after)
            return row

        row = await self._parts.db.run(unit, join=db)
        return encode(KEY_PREFIX, key_id, secret), _listed(row)

    async def list_keys(self) -> list[Key]:
        """Give all keys, revoked ones included, the newest first."""
        keys, users = self._parts.tables.keys, table_of(self._parts.user_model)
        rows = await self._parts.db.run(
            lambda db: queries.list_keys(db, keys, users), read_only=True
        )
        return [_listed(row, row.maker) for row in rows]

    async def get_key(self, key_id: uuid.UUID) -> Key:
        """Give a key that is not revoked.

        Raises:
            NotFoundError: there is no such key.
        """
        keys = self._parts.tables.keys
        row = await self._parts.db.run(lambda db: queries.get_key(db, keys, key_id), read_only=True)
        if row is None:
            raise NotFoundError
        return _listed(row)

    async def revoke_key(
        self,
        key_id: uuid.UUID,
        *,
        named: str | None = None,
        actor: Actor = OPERATOR,
        db: Db | None = None,
    ) -> None:
        """Revoke a key; it is dead at the next request.

        Args:
            key_id: which.
            named: what whoever revokes it believes its name to be; None: they know what they do.
            actor: who revokes.
            db: the caller's session, to join its transaction.

        Raises:
            NotFoundError: there is no such live key.
            InvalidError: it has another name.
        """
        keys = self._parts.tables.keys

        async def unit(db: Db) -> None:
            row = await queries.revoke_key(db, keys, key_id)
            if row is None:
                raise NotFoundError
            if named is not None and named.strip() != row.name.strip():
                raise InvalidError(Issue("name", "name_differs", "The key has another name."))
            after = {"key_id": str(key_id), "name": row.name}
            await record(db, self._parts.tables.audit, "key.revoked", actor, NOBODY, after=after)

        await self._parts.db.run(unit, join=db)

    async def require_key(self, text: str) -> LiveKey:
        """Give the live key behind a text; that it is used is noted once a minute.

        Raises:
            NotSignedInError: unknown, revoked or expired.
        """
        found = decode(KEY_PREFIX, text)
        if found is None:
            raise NotSignedInError
        if self._live_key is None:
            dialect = self._parts.db.engine.dialect
            self._live_key = queries.live_key(self._parts.tables.keys, dialect)
        row = await self._parts.db.fetch_row(
            self._live_key,
            key_id=found[0],
            digest=digest_of(found[1]),
            skew=self._parts.clock.skew,
        )
        if row is None:
            raise NotSignedInError
        if not row["is_touched"]:
            await self._touch(found[0])
        return LiveKey(row["id"], frozenset(row["scopes"]))

    async def _touch(self, key_id: uuid.UUID) -> None:
        """Note the use, once and no more: where nothing can be written, keys still read."""
        with contextlib.suppress(DataError):
            async with self._parts.db.get_session() as db:
                await queries.touch(db, self._parts.tables.keys, key_id)


def _check(name: str, scopes: Sequence[str]) -> None:
    issues = []
    if not 0 < len(name) <= NAME_MAX or not name.isprintable():
        issues.append(Issue("name", "name_invalid", f"A name has 1 to {NAME_MAX} characters."))
    if not scopes or set(scopes) - set(SCOPES):
        message = f"Scopes are {', '.join(SCOPES)}."
        issues.append(Issue("scope", "scope_invalid", message))
    if issues:
        raise InvalidError(*issues)


def _listed(row: Row[Any], maker: str | None = None) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        shown=encode(KEY_PREFIX, row.id, b"")[:12] + "…",
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        created_by=row.created_by,
        maker=maker,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
