"""Use cases of addresses: confirm one, change one's own, undo a change."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Row

from denizen.audit.model import OPERATOR, Actor
from denizen.audit.queries import record
from denizen.db.model import update_row
from denizen.db.unit import Db
from denizen.errors import NotSignedInError, TokenInvalidError
from denizen.mail.message import Kind
from denizen.mail.queries import enqueue, find_queued, forget_notices, forget_queued
from denizen.mail.queue import may_mail, queue_asked
from denizen.parts import Parts
from denizen.passwords.check import lock_checked, require_current_password
from denizen.tokens.model import LinkToken, Purpose
from denizen.tokens.queries import find_live, find_undo, open_link, void, void_since
from denizen.tokens.voiding import void_links
from denizen.users.erasure import keep
from denizen.users.model import UserMixin
from denizen.users.values import Locale, email_key

U = TypeVar("U", bound=UserMixin)


@dataclass(frozen=True, slots=True)
class PendingChange:
    """An address that waits to be confirmed; without an end while its mail is not sent yet."""

    email: str
    expires_at: datetime | None = None


class EmailScenarios(Generic[U]):
    """Addresses of one users table."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts
        self._db = parts.db

    async def request_verification(
        self, email: str, locale: Locale, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """Queue a mail with a link to confirm an address, if an account waits for it then.

        Raises:
            ThrottledError: too many forms from there.
        """
        await queue_asked(
            self._parts, "email_verification", email, actor=actor, locale=locale, db=db
        )

    async def confirm_verification(
        self, text: str, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """Note that the owner of the mailbox has confirmed the address of an account.

        Raises:
            TokenInvalidError: the link does not work.
        """
        token, tables = LinkToken.parse(text), self._parts.tables

        async def unit(db: Db) -> None:
            row, user = await self._open(db, Purpose.EMAIL_VERIFICATION, token)
            if row.email is None or email_key(row.email) != user.email_key:
                raise TokenInvalidError  # it is about an address that the account has no more
            user.email_verified_at = self._parts.clock.now()
            await update_row(db, user)
            owner = Actor("user", user.id, actor.address, actor.user_agent)
            await record(db, tables.audit, "email.verified", owner, user.id)

        await self._db.run(unit, join=db)

    async def request_change(
        self,
        user_id: uuid.UUID,
        email: str,
        password: str,
        *,
        actor: Actor = OPERATOR,
        db: Db | None = None,
    ) -> None:
        """Queue a link to the new address, and to the old one a notice with a link that undoes.

        Raises:
            PasswordWrongError: the password is wrong.
            ThrottledError: too many tries from there.
            OverloadedError: too many passwords are being hashed.
        """
        user = await self._db.run(
            lambda db: self._parts.user_model.get_by_id(db, user_id), read_only=True
        )
        if user is None:
            raise NotSignedInError
        await require_current_password(self._parts, user, password, actor)
        may = await may_mail(self._parts, "email_change", email)

        async def unit(db: Db) -> None:
            locked = await lock_checked(db, self._parts, user)
            if locked.erase_after is not None:
                raise NotSignedInError
            if may:
                await self._mail(db, "email_change", locked, actor, to=email)
                await self._mail(db, "email_changing", locked, actor, to=locked.email)
            audit = self._parts.tables.audit
            after = {"email": email}
            await record(db, audit, "email.change_requested", actor, user_id, after=after)

        await self._db.run(unit, join=db)

    async def pending_change(self, user_id: uuid.UUID) -> PendingChange | None:
        """Give the change that a user has asked for and nobody has confirmed yet."""
        tables, now = self._parts.tables, self._parts.clock.db_now

        async def read(db: Db) -> PendingChange | None:
            queued = await find_queued(db, tables.outbox, "email_change", user_id)
            if queued is not None:
                return PendingChange(queued)
            row = await find_live(db, tables.tokens, Purpose.EMAIL_CHANGE, user_id, now)
            return None if row is None else PendingChange(row.email, row.expires_at)

        return await self._db.run(read, read_only=True)

    async def cancel_change(
        self, user_id: uuid.UUID, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """Call a change off that is not confirmed yet: its link is void."""
        tables = self._parts.tables

        async def unit(db: Db) -> None:
            # the queue first, as `void_links` has it
            await forget_queued(db, tables.outbox, "email_change", user_id)
            await void(db, tables.tokens, user_id, Purpose.EMAIL_CHANGE)
            await record(db, tables.audit, "email.change_cancelled", actor, user_id)

        await self._db.run(unit, join=db)

    async def confirm_change(
        self, text: str, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """Move an account to its new address, whose owner has opened the mail.

        Raises:
            TokenInvalidError: the link does not work.
            TakenError: the address belongs to another account by now.
        """
        await self._db.run(lambda db: self._move(db, Purpose.EMAIL_CHANGE, text, actor), join=db)

    async def undo_change(
        self, text: str, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """Give an account back its old address, or call a change off that is not confirmed yet.

        Changes made since are undone with it, and a deletion asked for since. A mail to the address
        has a link to set a new password: who changed the address knew the old one.

        Raises:
            TokenInvalidError: the link does not work.
            TakenError: the address belongs to another account by now.
        """
        await self._db.run(lambda db: self._move(db, Purpose.EMAIL_UNDO, text, actor), join=db)

    async def _move(self, db: Db, purpose: Purpose, text: str, actor: Actor) -> None:
        tables = self._parts.tables
        row, user = await self._open(db, purpose, LinkToken.parse(text))
        is_undo = purpose is Purpose.EMAIL_UNDO
        owner = Actor("user", user.id, actor.address, actor.user_agent)
        before = {"email": user.email}
        since = row.request_id if is_undo else await self._way_back(db, user.id, row.email)
        if since is not None:  # who is back at an address, however, drops the ways back from later
            await forget_notices(db, tables.outbox, user.id, since)
            await void_since(db, tables.tokens, Purpose.EMAIL_UNDO, user.id, since)
        await void_links(db, tables, user)
        verified_at = self._parts.clock.now()
        user.email, user.email_verified_at = row.email, verified_at
        await update_row(db, user)
        if is_undo:
            await self._mail(db, "email_change_undone", user, actor, to=user.email)
        if is_undo and user.erase_after is not None:
            await keep(db, tables, user, owner)
        action = "email.change_undone" if is_undo else "email.changed"
        after = {"email": user.email}
        await record(db, tables.audit, action, owner, user.id, before=before, after=after)

    async def _way_back(self, db: Db, user_id: uuid.UUID, email: str) -> uuid.UUID | None:
        tokens, now = self._parts.tables.tokens, self._parts.clock.db_now
        return await find_undo(db, tokens, user_id, email_key(email), now)

    async def _open(self, db: Db, purpose: Purpose, token: LinkToken | None) -> tuple[Row[Any], U]:
        tokens, now = self._parts.tables.tokens, self._parts.clock.db_now
        row, user = await open_link(db, self._parts.user_model, tokens, purpose, token, now=now)
        if not user.is_active:
            raise TokenInvalidError
        return row, user

    async def _mail(self, db: Db, kind: Kind, user: U, actor: Actor, *, to: str) -> None:
        outbox, locale = self._parts.tables.outbox, user.locale
        await enqueue(db, outbox, kind, to, actor=actor, locale=locale, user_id=user.id)
