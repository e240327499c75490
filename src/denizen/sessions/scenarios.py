"""Use cases of sessions: sign in, find out who is signed in, sign out."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from sqlalchemy import inspect
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.base import instance_state

from denizen.audit.model import NOBODY, OPERATOR, Actor
from denizen.audit.queries import record
from denizen.db.direct import CompiledStatement, Row
from denizen.db.unit import Db
from denizen.errors import NotSignedInError, SignInFailedError
from denizen.parts import Parts
from denizen.passwords.rules import normalise
from denizen.sessions import queries
from denizen.sessions.model import Token
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)

SESSION_LIFE: Final = timedelta(days=30)  # NIST SP 800-63B-4, AAL1: at most 30 days


@dataclass(frozen=True, slots=True)
class Started(Generic[U]):
    """A fresh session: its token, shown this once, its absolute end, and whose it is."""

    token: Token
    expires_at: datetime
    user: U


class SessionScenarios(Generic[U]):
    """Sign-ins over one users table and its sessions table."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts
        self._db = parts.db
        self._sessions = parts.tables.sessions
        self._who_am_i: CompiledStatement | None = None

    async def sign_in(self, email: str, password: str, *, actor: Actor = OPERATOR) -> Started[U]:
        """Check a password and start a session.

        Whatever is wrong, exactly one hash is computed and one error raised: the answer tells
        nobody which addresses are known. No connection is held while hashing. A hash with older
        parameters is renewed.

        Raises:
            SignInFailedError: unknown, no password, wrong, disabled or unconfirmed.
            OverloadedError: too many are being hashed.
        """
        user = await self._db.run(
            lambda db: self._parts.user_model.get_by_email(db, email), read_only=True
        )
        stored = None if user is None else user.hashed_password
        is_right = await self._parts.hasher.verify(stored, normalise(password))
        if not is_right or user is None or stored is None or not user.can_sign_in:
            await self._note_failure(NOBODY if user is None else user.id, actor)
            raise SignInFailedError
        renewed = None
        if self._parts.hasher.needs_rehash(stored):
            renewed = await self._parts.hasher.hash(normalise(password))
        return await self._start(user, renewed, actor)

    async def require_row(self, token_text: str) -> Row:
        """Give the row of "who am I": the user's columns and `session_expires_at`.

        One statement, no transaction, no ORM: revocation and roles hold at the next request.

        Raises:
            NotSignedInError: not a token, unknown, ended, over, or the user is disabled.
        """
        token = Token.parse(token_text)
        if token is None:
            raise NotSignedInError
        row = await self._db.fetch_row(
            self._statement(),
            user_id=token.user_id,
            token_digest=token.digest,
            skew=self._parts.clock.skew,
        )
        if row is None:
            raise NotSignedInError
        return row

    async def require_user(self, token_text: str) -> U:
        """Give the signed-in user as a detached object of your class.

        Adding it to a session, or pointing a relationship at it, updates and never inserts.

        Raises:
            NotSignedInError: as `require_row`.
        """
        return detached(self._parts.user_model, await self.require_row(token_text))

    async def sign_out(
        self, token_text: str, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """End the session of this token; it is dead at the next request, on every worker.

        Raises:
            NotSignedInError: there is no such session.
        """
        token = Token.parse(token_text)
        if token is None:
            raise NotSignedInError

        async def unit(db: Db) -> None:
            if not await queries.end_session(db, self._sessions, token):
                raise NotSignedInError
            ended_by = replace(actor, kind="user", id=token.user_id)
            audit = self._parts.tables.audit
            await record(db, audit, "session.ended", ended_by, token.user_id)

        await self._db.run(unit, join=db)

    async def _note_failure(self, user_id: uuid.UUID, actor: Actor) -> None:
        """Record a failed sign-in: the same statements whether or not the address is known."""
        audit = self._parts.tables.audit
        await self._db.run(lambda db: record(db, audit, "session.refused", actor, user_id))

    async def _start(self, user: U, renewed: str | None, actor: Actor) -> Started[U]:
        token = Token.new(user.id)
        skew = self._parts.clock.skew

        async def unit(db: Db) -> datetime:
            await queries.purge_expired(db, self._sessions, user.id, skew)
            expires_at = await queries.start_session(
                db, user, self._sessions, token, life=SESSION_LIFE, skew=skew
            )
            if expires_at is None:
                raise SignInFailedError
            if renewed is not None:
                await queries.renew_hash(db, user, renewed)
            started_by = replace(actor, kind="user", id=user.id)
            await record(db, self._parts.tables.audit, "session.started", started_by, user.id)
            return expires_at

        return Started(token, await self._db.run(unit), user)

    def _statement(self) -> CompiledStatement:
        if self._who_am_i is None:
            dialect = self._db.engine.dialect
            self._who_am_i = queries.who_am_i(self._parts.user_model, self._sessions, dialect)
        return self._who_am_i


def detached(model: type[U], row: Row) -> U:
    """Make a detached object of the user's columns in a row, without a session."""
    mapper = inspect(model)
    user: U = mapper.class_manager.new_instance()
    values = instance_state(user).dict
    for attribute in mapper.column_attrs:
        values[attribute.key] = row[attribute.key]
    make_transient_to_detached(user)
    return user
