"""Use cases of sessions: sign in, find out who is signed in, sign out."""

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Row as SessionRow
from sqlalchemy import inspect
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.base import instance_state
from uuid_utils.compat import uuid7

from denizen.audit.model import NOBODY, OPERATOR, Actor
from denizen.audit.queries import record
from denizen.db.direct import CompiledStatement, Row
from denizen.db.errors import DataError
from denizen.db.unit import Db
from denizen.errors import NotFoundError, NotSignedInError, OverloadedError, SignInFailedError
from denizen.mail.message import Kind
from denizen.mail.queries import enqueue
from denizen.mail.queue import may_mail
from denizen.network import network_of
from denizen.parts import Parts
from denizen.passwords.check import check, forget_failures
from denizen.passwords.rules import normalise
from denizen.sessions import queries
from denizen.sessions.model import Token
from denizen.throttle.model import SIGN_IN_ACCOUNT, SIGN_IN_KNOWN
from denizen.users.model import UserMixin
from denizen.users.values import email_key

U = TypeVar("U", bound=UserMixin)


@dataclass(frozen=True, slots=True)
class Started(Generic[U]):
    """A fresh session: its token, shown this once, its absolute end, and whose it is.

    The user has the columns, and is detached: nothing else was read.
    """

    token: Token
    expires_at: datetime
    user: U


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The reads that are compiled once, when the engine's dialect is known."""

    who_am_i: CompiledStatement
    candidate: CompiledStatement
    known_network: CompiledStatement


class SessionScenarios(Generic[U]):
    """Sign-ins over one users table and its sessions table."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts
        self._db = parts.db
        self._sessions = parts.tables.sessions
        self._compiled: _Compiled | None = None

    async def sign_in(self, email: str, password: str, *, actor: Actor = OPERATOR) -> Started[U]:
        """Check a password and start a session.

        Whatever is wrong, exactly one hash is computed and one error raised: the answer tells
        nobody which addresses are known. No connection is held while hashing. A hash with older
        parameters is renewed. Who has the right password of an unconfirmed account is mailed the
        link again.

        Raises:
            SignInFailedError: unknown, no password, wrong, disabled, unconfirmed, being erased, or
                too many failures in a row.
            ThrottledError: too many tries from there.
            OverloadedError: too many are being hashed.
        """
        network = network_of(actor.address)
        key = email_key(email)
        with self._parts.hasher.place(network) as place:
            user, is_known = await self._find_candidate(key, network)
            limit = SIGN_IN_KNOWN if is_known else SIGN_IN_ACCOUNT
            try:
                right = await check(
                    self._parts, user, key, password, actor, limit=limit, place=place
                )
            except SignInFailedError:
                right = False  # guessed at too often: it is recorded like every other failure
        if not right or user is None or not user.can_sign_in:
            await self._note_failure(user, actor, is_right=right)
            raise SignInFailedError
        renewed = None
        if self._parts.hasher.needs_rehash(user.hashed_password or ""):
            with contextlib.suppress(OverloadedError):  # then at the next sign-in
                renewed = await self._parts.hasher.hash(normalise(password), network)
        return await self._start(user, renewed, actor)

    async def require_row(self, token_text: str) -> Row:
        """Give the row of "who am I": the user's columns, `session_id` and `session_expires_at`.

        One statement, no transaction, no ORM: revocation and roles hold at the next request. Once a
        minute it is noted that the session is in use.

        Raises:
            NotSignedInError: not a token, unknown, ended, over, or the user is disabled.
        """
        token = Token.parse(token_text)
        if token is None:
            raise NotSignedInError
        row = await self._db.fetch_row(
            self._statements().who_am_i,
            user_id=token.user_id,
            token_digest=token.digest,
            skew=self._parts.clock.skew,
        )
        if row is None:
            raise NotSignedInError
        if not row["is_seen"]:
            await self._note_seen(token)
        return row

    async def require_user(self, token_text: str) -> U:
        """Give the signed-in user as a detached object of your class.

        Adding it to a session, or pointing a relationship at it, updates and never inserts.

        Raises:
            NotSignedInError: as `require_row`.
        """
        return detached(self._parts.user_model, await self.require_row(token_text))

    async def list_sessions(
        self, user_id: uuid.UUID, *, db: Db | None = None
    ) -> Sequence[SessionRow[Any]]:
        """Give a user's devices, the hundred last used, the last one first."""
        now = self._parts.clock.db_now

        async def unit(db: Db) -> Sequence[SessionRow[Any]]:
            return await queries.list_sessions(db, self._sessions, user_id, now)

        return await (self._db.run(unit, read_only=True) if db is None else unit(db))

    async def end_session(
        self,
        user_id: uuid.UUID,
        session_id: uuid.UUID,
        *,
        actor: Actor = OPERATOR,
        db: Db | None = None,
    ) -> None:
        """End one of a user's sessions.

        Raises:
            NotFoundError: the user has no such session.
        """

        async def unit(db: Db) -> None:
            if not await queries.end_session(db, self._sessions, user_id, session_id):
                raise NotFoundError
            await record(db, self._parts.tables.audit, "session.ended", actor, user_id)

        await self._db.run(unit, join=db)

    async def end_all_sessions(
        self,
        user_id: uuid.UUID,
        *,
        actor: Actor = OPERATOR,
        but: uuid.UUID | None = None,
        db: Db | None = None,
    ) -> int:
        """End every session of a user, but one, and give how many there were."""

        async def unit(db: Db) -> int:
            return await queries.end_and_record(db, self._parts.tables, user_id, actor, but=but)

        return await self._db.run(unit, join=db)

    async def _find_candidate(self, key: str, network: str) -> tuple[U | None, bool]:
        """Give who has that address, and whether they have signed in from that network before.

        Two statements, also for an address that nobody has.
        """
        compiled = self._statements()
        row = await self._db.fetch_row(compiled.candidate, key=key)
        user = None if row is None else detached(self._parts.user_model, row)
        whose = uuid7() if user is None else user.id
        known = await self._db.fetch_row(compiled.known_network, user_id=whose, network=network)
        return user, known is not None

    async def _note_seen(self, token: Token) -> None:
        """Note the use, once and no more: where nothing can be written, sessions still read."""
        with contextlib.suppress(DataError):
            async with self._db.get_session() as db:
                await queries.note_seen(db, self._sessions, token, self._parts.clock.db_now)

    async def _note_failure(self, user: U | None, actor: Actor, *, is_right: bool) -> None:
        """Record a failed sign-in: the same statements whether or not the address is known."""
        tables = self._parts.tables
        kind: Kind = "email_verification"
        unconfirmed = None
        if is_right and user is not None and not user.email_verified:
            unconfirmed = user if await may_mail(self._parts, kind, user.email) else None

        async def unit(db: Db) -> None:
            about = NOBODY if user is None else user.id
            await record(db, tables.audit, "session.refused", actor, about)
            if unconfirmed is not None:
                to, locale = unconfirmed.email, unconfirmed.locale
                await enqueue(db, tables.outbox, kind, to, actor=actor, locale=locale)

        await self._db.run(unit)

    async def _start(self, user: U, renewed: str | None, actor: Actor) -> Started[U]:
        token = Token.new(user.id)
        tables, skew = self._parts.tables, self._parts.clock.skew
        network = network_of(actor.address)

        async def unit(db: Db) -> datetime:
            expires_at = await queries.start_session(
                db, user, self._sessions, token, actor=actor, skew=skew
            )
            if expires_at is None:
                raise SignInFailedError
            if renewed is not None:
                await queries.renew_hash(db, user, renewed)
            await queries.remember_network(db, tables.networks, user.id, network, skew)
            await forget_failures(db, self._parts, user.email_key, network)
            started_by = replace(actor, kind="user", id=user.id)
            await record(db, tables.audit, "session.started", started_by, user.id)
            return expires_at

        return Started(token, await self._db.run(unit), user)

    def _statements(self) -> _Compiled:
        if self._compiled is None:
            model, dialect = self._parts.user_model, self._db.engine.dialect
            self._compiled = _Compiled(
                who_am_i=queries.who_am_i(model, self._sessions, dialect),
                candidate=queries.candidate(model, dialect),
                known_network=queries.known_network(self._parts.tables.networks, dialect),
            )
        return self._compiled


def detached(model: type[U], row: Row) -> U:
    """Make a detached object of the user's columns in a row, without a session."""
    mapper = inspect(model)
    user: U = mapper.class_manager.new_instance()
    values = instance_state(user).dict
    for attribute in mapper.column_attrs:
        values[attribute.key] = row[attribute.key]
    make_transient_to_detached(user)
    return user
