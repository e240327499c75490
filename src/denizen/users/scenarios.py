"""Use cases of users. Each owns its unit of work, or joins the one that the caller passes as `db`.

The steps of the service: refuse early, hash without holding a connection, then one unit of work
in which the verbs do their part and the database decides.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from denizen.audit.model import OPERATOR, Actor
from denizen.audit.queries import record, record_change
from denizen.db.errors import TakenError
from denizen.db.model import insert_row
from denizen.db.paging import Page
from denizen.db.unit import Db
from denizen.errors import NotAllowedError, NotFoundError, OwnAccountError
from denizen.idempotency.queries import forget_answers
from denizen.mail.message import Kind
from denizen.network import network_of
from denizen.parts import Parts
from denizen.passwords.rules import check_password
from denizen.users import queries
from denizen.users.changing import change, welcome
from denizen.users.counting import Count, count_users
from denizen.users.erasure import erase, keep, put_to_erase
from denizen.users.model import UserMixin
from denizen.users.queries import UserFilter
from denizen.users.schemas import CreateUser, UpdateUser

T = TypeVar("T")
U = TypeVar("U", bound=UserMixin)


class UserScenarios(Generic[U]):
    """Users of one table: created, found, changed and removed."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts
        self._db = parts.db
        self._user_model = parts.user_model

    async def create_user(
        self, payload: CreateUser, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> U:
        """Create a user.

        Raises:
            NotAllowedError: a key names a role.
            TakenError: the e-mail, the username or both belong to somebody.
            InvalidError: the password breaks a rule.
            OverloadedError: too many passwords are being hashed.
        """
        if actor.kind == "key" and "role" in payload.model_fields_set:
            raise NotAllowedError
        hashed_password = await self._hash_new_password(payload, actor)

        async def unit(db: Db) -> U:
            user = self._user_model(
                email=payload.email,
                username=payload.username,
                hashed_password=hashed_password,
                role=payload.role,
                locale=payload.locale,
                is_active=payload.is_active,
                email_verified_at=self._parts.clock.now() if payload.email_verified else None,
            )
            await insert_row(db, user)
            audit, facts = self._parts.tables.audit, queries.facts_of(user)
            await record_change(db, audit, "user.created", actor, user.id, before={}, after=facts)
            await welcome(db, self._parts, user, actor)
            return user

        return await self._db.run(unit, join=db)

    async def get_user(
        self, user_id: uuid.UUID, *, also_leaving: bool = False, db: Db | None = None
    ) -> U:
        """Give a user; with `also_leaving` also one who is to be erased.

        Raises:
            NotFoundError: nobody has that id.
        """
        user = await self._read(lambda unit: self._user_model.get_by_id(unit, user_id), db)
        return _require(user, also_leaving=also_leaving)

    async def find_user(self, name: str, *, db: Db | None = None) -> U:
        """Give the user whom an operator means by an id, an e-mail or a username.

        Also one who is to be erased: an operator may have that done at once.

        Raises:
            NotFoundError: nobody is called that.
        """
        user = await self._read(lambda unit: queries.find_user(unit, self._user_model, name), db)
        return _require(user, also_leaving=True)

    async def list_users(
        self,
        wanted: UserFilter,
        *,
        order: str = "-created_at",
        limit: int = 50,
        cursor: str | None = None,
        db: Db | None = None,
    ) -> Page[U]:
        """Give one page of users; from a replica, if there is one, as they were a while ago.

        Raises:
            CursorError: the cursor is not one of this list.
        """
        return await self._read(
            lambda unit: queries.page_users(
                unit, self._user_model, wanted, order=order, limit=limit, cursor=cursor
            ),
            db,
            may_be_stale=True,
        )

    async def count_users(self, wanted: UserFilter) -> Count:
        """Give about how many users there are of that kind, at little cost however many."""
        return await count_users(self._db, self._user_model, wanted)

    async def update_user(
        self,
        user_id: uuid.UUID,
        payload: UpdateUser,
        *,
        version: int | None = None,
        spare_self: bool = False,
        actor: Actor = OPERATOR,
        db: Db | None = None,
    ) -> U:
        """Change a user; who could not sign in any more is signed out in the same unit.

        A new address is confirmed by a link that is mailed to it, unless it is said to be theirs.

        Args:
            user_id: whom.
            payload: the fields to change.
            version: what the caller read; None takes whatever there is.
            spare_self: whether actors are kept from another role, from shutting themselves out,
                and from moving their own address without their password.
            actor: who changes.
            db: the caller's session, to join its transaction.

        Raises:
            NotAllowedError: a key names a role, or the user is no ordinary one.
            NotFoundError: nobody has that id.
            StaleVersionError: the user was changed in between.
            TakenError: the new e-mail, username or both belong to somebody else.
            LastAdminError: nobody else is an active admin.
            OwnAccountError: `spare_self`, and it is the actor.
        """
        given = payload.given()
        if actor.kind == "key" and "role" in given:
            raise NotAllowedError
        if spare_self and user_id == actor.id and {"email", "email_verified"} & given.keys():
            raise OwnAccountError

        async def unit(db: Db) -> U:
            if given.get("role", "admin") != "admin" or not given.get("is_active", True):
                await self._keep_an_admin(db, user_id, actor)
            user = await self._lock(db, user_id, actor)
            role = user.role
            await change(db, self._parts, user, given, actor, version=version)
            is_out = user.role != role or not user.can_sign_in
            if spare_self and user.id == actor.id and is_out:
                raise OwnAccountError
            if user.role == "user" != role:  # an ordinary user's answers are not about others
                await forget_answers(db, self._parts.tables.idempotency, user.id)
            return user

        return await self._db.run(unit, join=db)

    async def delete_user(
        self,
        user_id: uuid.UUID,
        *,
        at_once: bool = False,
        spare_self: bool = False,
        actor: Actor = OPERATOR,
        db: Db | None = None,
    ) -> None:
        """Have a user erased with everything of theirs, after the grace period or at once.

        In the grace period nobody finds or signs in as the user, a link in a mail undoes it, and
        address and name stay taken.

        Raises:
            NotAllowedError: a key may delete ordinary users alone.
            NotFoundError: nobody has that id.
            LastAdminError: nobody else is an active admin.
            OwnAccountError: `spare_self`, and it is the actor.
        """
        if spare_self and user_id == actor.id:
            raise OwnAccountError

        async def unit(db: Db) -> None:
            await self._keep_an_admin(db, user_id, actor)
            user = await self._lock(db, user_id, actor, also_leaving=at_once)
            await (erase if at_once else put_to_erase)(db, self._parts, user, actor)

        await self._db.run(unit, join=db)

    async def keep_user(
        self, user_id: uuid.UUID, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> None:
        """Let a user stay who was to be erased; one who was not stays in any case.

        Raises:
            NotAllowedError: a key may keep ordinary users alone.
            NotFoundError: nobody has that id.
        """

        async def unit(db: Db) -> None:
            user = await self._lock(db, user_id, actor, also_leaving=True)
            if user.erase_after is not None:
                await keep(db, self._parts.tables, user, actor)

        await self._db.run(unit, join=db)

    async def welcome_user(
        self, user_id: uuid.UUID, *, actor: Actor = OPERATOR, db: Db | None = None
    ) -> Kind | None:
        """Mail a user once more what lets them in: an invitation, or the link to confirm.

        Gives which of them; None where neither is missing.

        Raises:
            NotAllowedError: a key may write to ordinary users alone.
            NotFoundError: nobody has that id, or they are disabled: no link opens for them.
        """

        async def unit(db: Db) -> Kind | None:
            user = await self._lock(db, user_id, actor)
            if not user.is_active:
                raise NotFoundError
            kind = await welcome(db, self._parts, user, actor)
            if kind is not None:
                audit = self._parts.tables.audit
                await record(db, audit, "user.welcomed", actor, user_id, after={"mail": kind})
            return kind

        return await self._db.run(unit, join=db)

    async def _hash_new_password(self, payload: CreateUser, actor: Actor) -> str | None:
        """Check and hash; a taken name is refused before it costs a hash, the index decides."""
        if payload.password is None:
            return None
        password = check_password(
            payload.password.get_secret_value(),
            minimum=self._parts.password_min,
            own_words=(payload.email, payload.username, *self._parts.context_words),
        )
        # in a unit of its own: a caller's would hold a connection while hashing
        taken = await self._db.run(
            lambda db: queries.is_taken(
                db, self._user_model, email=payload.email, username=payload.username
            ),
            read_only=True,
        )
        if taken:
            raise TakenError(taken)
        return await self._parts.hasher.hash(password, network_of(actor.address))

    async def _keep_an_admin(self, db: Db, user_id: uuid.UUID, actor: Actor) -> None:
        """See that an active admin stays; a key can't reach one in the first place."""
        if actor.kind != "key":
            await queries.keep_an_admin(db, self._user_model, user_id)

    async def _lock(
        self, db: Db, user_id: uuid.UUID, actor: Actor, *, also_leaving: bool = False
    ) -> U:
        """Give the user, locked, after seeing that the actor may touch them."""
        user = _require(await self._user_model.lock(db, user_id), also_leaving=also_leaving)
        if actor.kind == "key" and user.role != "user":
            raise NotAllowedError
        return user

    async def _read(
        self, read: Callable[[Db], Awaitable[T]], db: Db | None, *, may_be_stale: bool = False
    ) -> T:
        if db is not None:
            return await read(db)
        return await self._db.run(read, read_only=True, may_be_stale=may_be_stale)


def _require(user: U | None, *, also_leaving: bool = False) -> U:
    """Give the user, unless there is none, or one who is to be erased."""
    if user is None or (user.erase_after is not None and not also_leaving):
        raise NotFoundError
    return user
