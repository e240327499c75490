"""Use cases of one's own account: change it, delete it, undo that, take all data along."""

import uuid
from typing import Any, Generic, TypeVar

from denizen.account.queries import Holdings, holdings_of
from denizen.audit.model import OPERATOR, Actor
from denizen.audit.queries import record_change
from denizen.db.model import update_row
from denizen.db.unit import Db
from denizen.errors import NotSignedInError, TokenInvalidError
from denizen.parts import Parts
from denizen.passwords.check import lock_checked, require_current_password
from denizen.tokens.model import LinkToken, Purpose
from denizen.tokens.queries import open_link
from denizen.users.erasure import keep, put_to_erase
from denizen.users.model import UserMixin
from denizen.users.queries import facts_of, keep_an_admin

U = TypeVar("U", bound=UserMixin)


class AccountScenarios(Generic[U]):
    """One's own account in one users table."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts
        self._db = parts.db

    async def update_me(
        self,
        user_id: uuid.UUID,
        changes: dict[str, Any],
        *,
        actor: Actor = OPERATOR,
        db: Db | None = None,
    ) -> U:
        """Change one's own username or language.

        Raises:
            TakenError: the username belongs to somebody else.
        """

        async def unit(db: Db) -> U:
            user = await self._parts.user_model.lock(db, user_id)
            if user is None:
                raise NotSignedInError
            before = facts_of(user)
            await update_row(db, user, **changes)
            audit = self._parts.tables.audit
            await record_change(
                db, audit, "user.updated", actor, user.id, before=before, after=facts_of(user)
            )
            return user

        return await self._db.run(unit, join=db)

    async def request_deletion(
        self, user_id: uuid.UUID, password: str, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """Sign out everywhere and erase after the grace period; a mail has a link that undoes it.

        Raises:
            PasswordWrongError: the password is wrong.
            LastAdminError: nobody else is an active admin.
            ThrottledError: too many tries from there.
            OverloadedError: too many passwords are being hashed.
        """
        model = self._parts.user_model
        user = await self._db.run(lambda db: model.get_by_id(db, user_id), read_only=True)
        if user is None:
            raise NotSignedInError
        await require_current_password(self._parts, user, password, actor)

        async def unit(db: Db) -> None:
            await keep_an_admin(db, model, user_id)
            locked = await lock_checked(db, self._parts, user)
            if locked.erase_after is not None:
                raise NotSignedInError
            await put_to_erase(db, self._parts, locked, actor)

        await self._db.run(unit, join=db)

    async def undo_deletion(
        self, text: str, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """Keep an account that was to be erased; its owner may sign in again.

        Raises:
            TokenInvalidError: the link does not work.
        """

        async def unit(db: Db) -> None:
            tables, now = self._parts.tables, self._parts.clock.db_now
            token, purpose = LinkToken.parse(text), Purpose.DELETION_UNDO
            model = self._parts.user_model
            _, user = await open_link(db, model, tables.tokens, purpose, token, now=now)
            if user.erase_after is None:
                raise TokenInvalidError
            owner = Actor("user", user.id, actor.address, actor.user_agent)
            await keep(db, tables, user, owner)

        await self._db.run(unit, join=db)

    async def export(self, user_id: uuid.UUID) -> Holdings[U]:
        """Give all that is held about a user; no secret is part of it.

        Raises:
            NotSignedInError: there is no such user any more.
        """
        tables, now = self._parts.tables, self._parts.clock.db_now

        async def read(db: Db) -> Holdings[U]:
            user = await self._parts.user_model.get_by_id(db, user_id)
            if user is None:
                raise NotSignedInError
            return await holdings_of(db, tables, user, now)

        return await self._db.run(read, read_only=True)
