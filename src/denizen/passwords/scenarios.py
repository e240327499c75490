"""Use cases of passwords: ask for a reset, set a new one by a link, change one's own."""

import uuid
from typing import Generic, Literal, TypeVar

from denizen.audit.model import OPERATOR, Actor
from denizen.audit.queries import record
from denizen.db.model import update_row
from denizen.db.unit import Db
from denizen.errors import NotFoundError, NotSignedInError, TokenInvalidError
from denizen.mail.message import Kind
from denizen.mail.queries import enqueue
from denizen.mail.queue import queue_asked
from denizen.network import network_of
from denizen.parts import Parts
from denizen.passwords.check import forget_failures, lock_checked, require_current_password
from denizen.passwords.rules import check_password
from denizen.sessions.queries import end_all_sessions
from denizen.throttle.model import PASSWORD_CHANGE
from denizen.throttle.paying import pay
from denizen.tokens.model import DAY, LinkToken, Purpose
from denizen.tokens.queries import issue, open_link, require_live
from denizen.tokens.voiding import void_links
from denizen.users.model import UserMixin
from denizen.users.values import Locale, email_key

U = TypeVar("U", bound=UserMixin)


class PasswordScenarios(Generic[U]):
    """Passwords of one users table."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts
        self._db = parts.db

    async def request_reset(
        self, email: str, locale: Locale, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """Queue a mail with a link to set a new password, if there is an account to be found then.

        Raises:
            ThrottledError: too many forms from there.
        """
        await queue_asked(self._parts, "password_reset", email, actor=actor, locale=locale, db=db)

    async def make_link(
        self,
        user_id: uuid.UUID,
        kind: Literal["invitation", "password_reset"],
        *,
        actor: Actor = OPERATOR,
        db: Db | None = None,
    ) -> str:
        """Give a token to set a password, for an operator to hand over; the mail has another.

        Either works, and the first that is used takes the other along.

        Raises:
            NotFoundError: nobody has that id, or they are to be erased.
        """

        async def unit(db: Db) -> str:
            tables, now = self._parts.tables, self._parts.clock.db_now
            user = await self._parts.user_model.get_by_id(db, user_id)
            if user is None or user.erase_after is not None:
                raise NotFoundError
            outbox, locale = tables.outbox, user.locale
            request_id = await enqueue(
                db, outbox, kind, user.email, actor=actor, locale=locale, user_id=user.id
            )
            life = DAY if kind == "invitation" else self._parts.reset_life
            purpose = Purpose.PASSWORD_RESET
            issued = await issue(
                db, tables.tokens, purpose, user.id, request_id=request_id, now=now, life=life
            )
            await record(db, tables.audit, "password.link_made", actor, user.id)
            return issued.token.text if issued else ""

        return await self._db.run(unit, join=db)

    async def mail_link(
        self, user_id: uuid.UUID, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """Mail a user a link to set a new password, because somebody else asked for it.

        Raises:
            NotFoundError: nobody has that id, or they are disabled or to be erased.
        """

        async def unit(db: Db) -> None:
            tables = self._parts.tables
            user = await self._parts.user_model.get_by_id(db, user_id)
            if user is None or not user.is_active or user.erase_after is not None:
                raise NotFoundError
            outbox, locale = tables.outbox, user.locale
            kind: Kind = "password_reset"
            await enqueue(db, outbox, kind, user.email, actor=actor, locale=locale, user_id=user.id)
            await record(db, tables.audit, "password.link_made", actor, user.id)

        await self._db.run(unit, join=db)

    async def confirm_reset(self, text: str, password: str, *, actor: Actor = OPERATOR) -> None:
        """Set a password by a link from a mail, which also confirms the address.

        Every session ends, every other link into the account is void, and nobody is signed in.

        Raises:
            TokenInvalidError: the link does not work.
            InvalidError: the password breaks a rule; the link stays good.
            OverloadedError: too many passwords are being hashed; likewise.
        """
        token, purpose = LinkToken.parse(text), Purpose.PASSWORD_RESET
        tables, now = self._parts.tables, self._parts.clock.db_now

        async def look(db: Db) -> U:
            row = await require_live(db, tables.tokens, purpose, token, now)
            return self._require(await self._parts.user_model.get_by_id(db, row.user_id))

        checked = self._checked(await self._db.run(look, read_only=True), password)
        hashed = await self._parts.hasher.hash(checked, network_of(actor.address))

        async def unit(db: Db) -> None:
            model = self._parts.user_model
            row, found = await open_link(db, model, tables.tokens, purpose, token, now=now)
            user = self._require(found)
            if row.email is not None and email_key(row.email) != user.email_key:
                raise TokenInvalidError  # it was mailed to an address that was given up meanwhile
            verified_at = user.email_verified_at or self._parts.clock.now()
            user.hashed_password, user.email_verified_at = hashed, verified_at
            await update_row(db, user)
            await self._finish(db, user, Actor("user", user.id, actor.address, actor.user_agent))
            await forget_failures(db, self._parts, user.email_key, network_of(actor.address))

        await self._db.run(unit)

    async def change_password(
        self,
        user_id: uuid.UUID,
        current: str,
        new: str,
        *,
        actor: Actor = OPERATOR,
        session_id: uuid.UUID | None = None,
        db: Db | None = None,
    ) -> None:
        """Change one's own password; every session but `session_id` ends.

        Raises:
            PasswordWrongError: the current one is wrong.
            InvalidError: the new one breaks a rule.
            ThrottledError: too many tries from there, or too many changes in a row.
            OverloadedError: too many passwords are being hashed.
        """
        user = await self._user(user_id)
        await require_current_password(self._parts, user, current, actor)
        checked = self._checked(user, new)
        if self._parts.throttled:
            await pay(self._parts, [(PASSWORD_CHANGE, str(user.id))])
        hashed = await self._parts.hasher.hash(checked, network_of(actor.address))

        async def unit(db: Db) -> None:
            locked = await lock_checked(db, self._parts, user)
            locked.hashed_password = hashed
            await update_row(db, locked)
            await self._finish(db, locked, actor, keep=session_id)

        await self._db.run(unit, join=db)

    async def _finish(
        self, db: Db, user: U, actor: Actor, *, keep: uuid.UUID | None = None
    ) -> None:
        """Do what follows a new password: sessions end, links are void, the owner is told."""
        tables = self._parts.tables
        await end_all_sessions(db, tables.sessions, user.id, but=keep)
        await void_links(db, tables, user)
        await enqueue(
            db,
            tables.outbox,
            "password_changed",
            user.email,
            actor=actor,
            locale=user.locale,
            user_id=user.id,
        )
        await record(db, tables.audit, "password.changed", actor, user.id)

    def _checked(self, user: U, password: str) -> str:
        words = (user.email, user.username, *self._parts.context_words)
        return check_password(password, minimum=self._parts.password_min, own_words=words)

    async def _user(self, user_id: uuid.UUID) -> U:
        model = self._parts.user_model
        user = await self._db.run(lambda db: model.get_by_id(db, user_id), read_only=True)
        if user is None:
            raise NotSignedInError
        return user

    def _require(self, user: U | None) -> U:
        """Give the user of a link, unless disabled or about to be erased."""
        if user is None or not user.is_active or user.erase_after is not None:
            raise TokenInvalidError
        return user
