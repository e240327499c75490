"""Use cases of users. Each owns its unit of work, or joins the one that the caller passes as `db`.

The steps of the service: refuse early, hash without holding a connection, then one unit of work
in which the verbs do their part and the database decides.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from sqlalchemy import Table

from denizen.clock import Clock
from denizen.db.errors import TakenError
from denizen.db.manager import DBSessionManager
from denizen.db.model import insert_row
from denizen.db.paging import Page
from denizen.db.unit import Db
from denizen.errors import NotFoundError
from denizen.passwords.hasher import PasswordHasher
from denizen.passwords.rules import check_password
from denizen.sessions.queries import end_all_sessions
from denizen.users import queries
from denizen.users.model import UserMixin
from denizen.users.queries import UserFilter
from denizen.users.schemas import CreateUser, UpdateUser

T = TypeVar("T")
U = TypeVar("U", bound=UserMixin)


class UserScenarios(Generic[U]):
    """Users of one table: created, found, changed and removed."""

    def __init__(
        self,
        db: DBSessionManager,
        hasher: PasswordHasher,
        user_model: type[U],
        sessions: Table,
        *,
        clock: Clock,
        password_min: int,
    ) -> None:
        self._db = db
        self._hasher = hasher
        self._user_model = user_model
        self._sessions = sessions
        self._clock = clock
        self._password_min = password_min

    async def create_user(self, payload: CreateUser, *, db: Db | None = None) -> U:
        """Create a user.

        Raises:
            TakenError: the e-mail, the username or both belong to somebody.
            InvalidError: the password breaks a rule.
            OverloadedError: too many passwords are being hashed.
        """
        hashed_password = await self._hash_new_password(payload, db)

        async def unit(db: Db) -> U:
            user = self._user_model(
                email=payload.email,
                username=payload.username,
                hashed_password=hashed_password,
                role=payload.role,
                locale=payload.locale,
                is_active=payload.is_active,
                email_verified_at=self._clock.now() if payload.email_verified else None,
            )
            return await insert_row(db, user)

        return await self._db.run(unit, join=db)

    async def get_user(self, user_id: uuid.UUID, *, db: Db | None = None) -> U:
        """Give a user.

        Raises:
            NotFoundError: nobody has that id.
        """
        user = await self._read(lambda unit: self._user_model.get_by_id(unit, user_id), db)
        return _require(user)

    async def find_user(self, name: str, *, db: Db | None = None) -> U:
        """Give the user whom an operator means by an id, an e-mail or a username.

        Raises:
            NotFoundError: nobody is called that.
        """
        user = await self._read(lambda unit: queries.find_user(unit, self._user_model, name), db)
        return _require(user)

    async def list_users(
        self,
        wanted: UserFilter,
        *,
        order: str = "-created_at",
        limit: int = 50,
        cursor: str | None = None,
        db: Db | None = None,
    ) -> Page[U]:
        """Give one page of users.

        Raises:
            CursorError: the cursor is not one of this list.
        """
        return await self._read(
            lambda unit: queries.page_users(
                unit, self._user_model, wanted, order=order, limit=limit, cursor=cursor
            ),
            db,
        )

    async def update_user(
        self,
        user_id: uuid.UUID,
        payload: UpdateUser,
        *,
        version: int | None = None,
        db: Db | None = None,
    ) -> U:
        """Change a user; disabling ends every session of theirs in the same unit.

        Args:
            user_id: whom.
            payload: the fields to change.
            version: what the caller read; None takes whatever there is.
            db: the caller's session, to join its transaction.

        Raises:
            NotFoundError: nobody has that id.
            StaleVersionError: the user was changed in between.
            TakenError: the new e-mail, username or both belong to somebody else.
            LastAdminError: nobody else is an active admin.
        """
        given = payload.given()
        changes = self._columns(given)

        async def unit(db: Db) -> U:
            if given.get("role", "admin") != "admin" or not given.get("is_active", True):
                await queries.keep_an_admin(db, self._user_model, user_id)
            user = await self._user_model.update(db, user_id, version=version, **changes)
            if given.get("is_active") is False:
                await end_all_sessions(db, self._sessions, user_id)
            return _require(user)

        return await self._db.run(unit, join=db)

    async def delete_user(self, user_id: uuid.UUID, *, db: Db | None = None) -> None:
        """Erase a user with everything of theirs.

        Raises:
            NotFoundError: nobody has that id.
            LastAdminError: nobody else is an active admin.
        """

        async def unit(db: Db) -> None:
            await queries.keep_an_admin(db, self._user_model, user_id)
            if not await self._user_model.delete(db, user_id):
                raise NotFoundError

        await self._db.run(unit, join=db)

    async def _hash_new_password(self, payload: CreateUser, db: Db | None) -> str | None:
        """Check and hash; a taken name is refused before it costs a hash, the index decides."""
        if payload.password is None:
            return None
        password = check_password(
            payload.password.get_secret_value(),
            minimum=self._password_min,
            own_words=(payload.email, payload.username),
        )
        taken = await self._read(
            lambda unit: queries.is_taken(
                unit, self._user_model, email=payload.email, username=payload.username
            ),
            db,
        )
        if taken:
            raise TakenError(taken)
        return await self._hasher.hash(password)

    def _columns(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give the columns to write; `email_verified` comes last, for a new address resets it."""
        columns = {name: value for name, value in given.items() if name != "email_verified"}
        if "email_verified" in given:
            columns["email_verified_at"] = self._clock.now() if given["email_verified"] else None
        return columns

    async def _read(self, read: Callable[[Db], Awaitable[T]], db: Db | None) -> T:
        if db is not None:
            return await read(db)
        return await self._db.run(read, read_only=True)


def _require(user: U | None) -> U:
    if user is None:
        raise NotFoundError
    return user
