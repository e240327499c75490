"""Use cases of addresses: confirm one, change one's own, undo a change."""

import uuid
from typing import Generic, TypeVar

from denizen.audit.model import OPERATOR, Actor
from denizen.audit.queries import record
from denizen.db.model import update_row
from denizen.db.unit import Db
from denizen.errors import NotSignedInError, TokenInvalidError
from denizen.mail.message import Kind
from denizen.mail.queries import enqueue
from denizen.mail.queue import may_mail, queue_asked
from denizen.parts import Parts
from denizen.passwords.check import require_current_password
from denizen.tokens.model import LinkToken, Purpose
from denizen.tokens.queries import consume, find_undo, void_since
from denizen.tokens.voiding import void_links
from denizen.users.model import UserMixin
from denizen.users.values import Locale, email_key

U = TypeVar("U", bound=UserMixin)


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
            now = self._parts.clock.db_now
            row = await consume(db, tables.tokens, Purpose.EMAIL_VERIFICATION, token, now)
            user = await self._locked(db, row.user_id)
            if row.email is None or email_key(row.email) != user.email_key:
                raise TokenInvalidError  # it is about an address that the account has no more
            await update_row(db, user, email_verified_at=self._parts.clock.now())
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
            if may:
                await self._mail(db, "email_change", user, actor, to=email)
                await self._mail(db, "email_changing", user, actor, to=user.email)
            audit = self._parts.tables.audit
            after = {"email": email}
            await record(db, audit, "email.change_requested", actor, user.id, after=after)

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
        tables, now = self._parts.tables, self._parts.clock.db_now
        row = await consume(db, tables.tokens, purpose, LinkToken.parse(text), now)
        user = await self._locked(db, row.user_id)
        is_undo, before = purpose is Purpose.EMAIL_UNDO, {"email": user.email}
        # ways back are a stack: who is back at an address, however, drops those of later ones
        since = row.request_id if is_undo else await self._way_back(db, user.id, row.email)
        notices = () if since is None else ("email_changing",)  # else the other gets a way back
        await void_links(db, tables, user, *notices)
        changes = {"email": row.email, "email_verified_at": self._parts.clock.now()}
        await update_row(db, user, **(changes | {"erase_after": None} if is_undo else changes))
        if since is not None:
            await void_since(db, tables.tokens, Purpose.EMAIL_UNDO, user.id, since)
        if is_undo:
            await self._mail(db, "email_change_undone", user, actor, to=user.email)
        owner = Actor("user", user.id, actor.address, actor.user_agent)
        action = "email.change_undone" if is_undo else "email.changed"
        after = {"email": user.email}
        await record(db, tables.audit, action, owner, user.id, before=before, after=after)

    async def _way_back(self, db: Db, user_id: uuid.UUID, email: str) -> uuid.UUID | None:
        tokens, now = self._parts.tables.tokens, self._parts.clock.db_now
        return await find_undo(db, tokens, user_id, email_key(email), now)

    async def _locked(self, db: Db, user_id: uuid.UUID) -> U:
        user = await self._parts.user_model.lock(db, user_id)
        if user is None or not user.is_active:
            raise TokenInvalidError
        return user

    async def _mail(self, db: Db, kind: Kind, user: U, actor: Actor, *, to: str) -> None:
        outbox, locale = self._parts.tables.outbox, user.locale
        await enqueue(db, outbox, kind, to, actor=actor, locale=locale, user_id=user.id)
