"""Use cases of registration: ask for a link, confirm it; and the link of the very first admin.

A registration reserves nothing and is no account: username and password are chosen by whoever
opens the mail, so that a stranger who typed the address ends with nothing.
"""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import Row
from uuid_utils.compat import uuid7

from denizen.audit.model import NOBODY, OPERATOR, Actor
from denizen.audit.queries import record
from denizen.db.errors import TakenError
from denizen.db.model import insert_row
from denizen.db.unit import Db
from denizen.errors import RegistrationClosedError, TokenInvalidError
from denizen.mail.queue import queue_asked
from denizen.network import network_of
from denizen.parts import Parts
from denizen.passwords.rules import check_password
from denizen.tokens.model import LIFE, LinkToken, Purpose, registration_id
from denizen.tokens.queries import consume, issue, require_live, void
from denizen.users.model import UserMixin
from denizen.users.queries import facts_of, has_admin, is_taken
from denizen.users.values import Locale, Role

U = TypeVar("U", bound=UserMixin)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What somebody chose; the address comes from the token, but for the first admin's."""

    username: str
    password: str = field(repr=False)
    email: str | None = None


class RegistrationScenarios(Generic[U]):
    """Registrations of one users table."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts
        self._db = parts.db

    async def request(
        self, email: str, locale: Locale, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """Queue a mail to that address: a link, or word that there is an account already.

        Raises:
            RegistrationClosedError: strangers may not register.
            ThrottledError: too many forms from there.
        """
        if self._parts.registration != "open":
            raise RegistrationClosedError
        await queue_asked(self._parts, "registration", email, actor=actor, locale=locale, db=db)

    async def confirm(
        self, token: str, username: str, password: str, *, actor: Actor = OPERATOR
    ) -> U:
        """Make the account: its owner has opened the mail and chooses username and password.

        Raises:
            RegistrationClosedError: strangers may not register any more.
            TokenInvalidError: the link does not work; or the address has an account by now.
            TakenError: the username belongs to somebody; the link stays good.
            InvalidError: the password breaks a rule; likewise.
            OverloadedError: too many passwords are being hashed; likewise.
        """
        if self._parts.registration != "open":
            raise RegistrationClosedError
        chosen = _Chosen(username, password)
        return await self._confirm(Purpose.REGISTRATION, token, chosen, actor)

    async def first_admin_token(self) -> str | None:
        """Give a new one-time token that makes the first admin; None when there is one.

        It takes the place of the one given before.
        """

        async def unit(db: Db) -> str | None:
            if await has_admin(db, self._parts.user_model):
                return None
            issued = await issue(
                db,
                self._parts.tables.tokens,
                Purpose.FIRST_ADMIN,
                NOBODY,
                request_id=uuid7(),
                now=self._parts.clock.db_now,
                life=LIFE[Purpose.FIRST_ADMIN],
            )
            return None if issued is None else issued.token.text

        return await self._db.run(unit)

    async def confirm_first_admin(
        self, token: str, email: str, username: str, password: str, *, actor: Actor = OPERATOR
    ) -> U:
        """Make the first admin, by the link that the service printed at its start.

        Raises:
            TokenInvalidError: the link does not work, or there is an admin by now.
            TakenError, InvalidError, OverloadedError: as `confirm`.
        """
        chosen = _Chosen(username, password, email)
        return await self._confirm(Purpose.FIRST_ADMIN, token, chosen, actor)

    async def _confirm(self, purpose: Purpose, text: str, chosen: _Chosen, actor: Actor) -> U:
        role: Role = "admin" if purpose is Purpose.FIRST_ADMIN else "user"
        token = LinkToken.parse(text)
        pending = await self._db.run(lambda db: self._look(db, purpose, token), read_only=True)
        address = chosen.email or pending.email
        hashed = await self._hash(address, chosen, actor)

        async def unit(db: Db) -> U:
            tables, now = self._parts.tables, self._parts.clock.db_now
            taken = await consume(db, tables.tokens, purpose, token, now)
            if role == "admin" and await has_admin(db, self._parts.user_model):
                raise TokenInvalidError
            user = self._parts.user_model(
                email=address,
                username=chosen.username,
                hashed_password=hashed,
                role=role,
                locale=pending.locale or "en",
                email_verified_at=self._parts.clock.now(),
            )
            await insert_row(db, user)
            await void(db, tables.tokens, taken.user_id)
            await void(db, tables.tokens, registration_id(address))
            made = Actor("user", user.id, actor.address, actor.user_agent)
            after = facts_of(user)
            await record(db, tables.audit, "user.registered", made, user.id, after=after)
            return user

        try:
            return await self._db.run(unit)
        except TakenError as error:
            if chosen.email is None and "email" in error.fields:
                raise TokenInvalidError from None
            raise

    async def _look(self, db: Db, purpose: Purpose, token: LinkToken | None) -> Row[Any]:
        now = self._parts.clock.db_now
        return await require_live(db, self._parts.tables.tokens, purpose, token, now)

    async def _hash(self, email: str, chosen: _Chosen, actor: Actor) -> str:
        """Check and hash; what is taken is refused before it costs a hash."""
        username = chosen.username
        words = (email, username, *self._parts.context_words)
        minimum = self._parts.password_min
        checked = check_password(chosen.password, minimum=minimum, own_words=words)
        taken = await self._db.run(
            lambda db: is_taken(db, self._parts.user_model, email=email, username=username),
            read_only=True,
        )
        if "email" in taken and chosen.email is None:  # as often as a link lives, it would cost one
            raise TokenInvalidError
        if taken:
            raise TakenError(taken)
        return await self._parts.hasher.hash(checked, network_of(actor.address))
