"""What stands where a database stands, for the tests that need none.

`Rows` and `Memory` are fakes: they hold state and answer from it. `Alike` is a stub: it answers
whatever it is asked with the same. None reads SQL and none counts calls: a stand-in that answers
the second SELECT with this and the third with that is the implementation, written down once more.
"""

import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, Self, TypeVar

from styles.e_repository.model import User
from styles.e_repository.ports import UnitOfWork

from denizen.db.errors import StaleVersionError, TakenError

T = TypeVar("T")


class Hasher:
    """Hashes nothing."""

    async def hash(self, password: str) -> str:
        """Give what looks like a hash."""
        return "$argon2id$"


class Rows:
    """A session that knows rows by their primary key; what needs SQL, it can't do."""

    def __init__(self, *rows: Any) -> None:
        self.rows = {(type(row), row.id): row for row in rows}

    def add(self, row: Any) -> None:
        """Keep a row."""
        self.rows[type(row), row.id] = row

    async def flush(self, _objects: Any = None) -> None:
        """Have nothing to write."""

    async def get(self, kind: type[T], key: Any, *, with_for_update: Any = None) -> T | None:
        """Give the row with that key."""
        return self.rows.get((kind, key))

    async def execute(self, *_: Any) -> NoReturn:
        """Refuse to read SQL."""
        raise NotImplementedError

    scalar = scalars = execute


class Alike:
    """A session that finds the same row wherever it looks, or none; `error` is what commits give.

    It is its own result, and the manager of the units that have it.
    """

    def __init__(self, row: Any = None, error: Exception | None = None) -> None:
        self.row = row
        self.error = error
        self.rowcount = 0 if row is None else 1

    def add(self, row: object) -> None:
        """Have nothing to keep."""

    async def flush(self, _objects: Any = None) -> None:
        """Have nothing to write."""

    async def commit(self) -> None:
        """Have nothing to commit, or fail."""
        if self.error is not None:
            raise self.error

    rollback = refresh = delete = flush

    async def get(self, *_: Any, **__: Any) -> Any:
        """Find the row."""
        return self.row

    scalar = get

    async def execute(self, *_: Any) -> Self:
        """Give a result."""
        return self

    scalars = execute

    def all(self) -> list[Any]:
        """Give the row as all rows."""
        return [] if self.row is None else [self.row]

    def scalar_one_or_none(self) -> Any:
        """Give the row."""
        return self.row

    async def run(self, unit: Callable[[Any], Awaitable[T]], *, read_only: bool = False) -> T:
        """Run a unit."""
        return await unit(self)

    @contextlib.asynccontextmanager
    async def get_session(self, *, read_only: bool = False) -> AsyncIterator[Self]:
        """Open a unit."""
        yield self


class Memory:
    """All three repositories of (e) in memory, and the unit of work that has them."""

    def __init__(self) -> None:
        self.rows: dict[uuid.UUID, User] = {}
        self.signed_in: set[uuid.UUID] = set()
        self.events: list[tuple[str, uuid.UUID]] = []
        self.users = self.sessions = self.audit = self

    @contextlib.asynccontextmanager
    async def begin(self, *, read_only: bool = False) -> AsyncIterator[UnitOfWork]:
        """Open a unit; what an error leaves behind is not taken back."""
        yield self

    async def taken_fields(self, email: str, username: str) -> tuple[str, ...]:
        """Compare with every user."""
        wanted = {"email": email, "username": username}
        rows = self.rows.values()
        return tuple(f for f, v in wanted.items() if any(getattr(u, f) == v for u in rows))

    async def add(self, user: User) -> None:
        """Keep a user."""
        if taken := await self.taken_fields(user.email, user.username):
            raise TakenError(taken)
        user.version = 1
        self.rows[user.id] = user

    async def lock(self, user_id: uuid.UUID) -> User | None:
        """Give a user."""
        return self.rows.get(user_id)

    async def save(self, user: User, *, version: int | None) -> None:
        """Count the version up."""
        if version not in {None, user.version}:
            raise StaleVersionError
        user.version += 1

    async def remove(self, user_id: uuid.UUID) -> bool:
        """Forget a user."""
        return self.rows.pop(user_id, None) is not None

    async def end_all(self, user_id: uuid.UUID) -> None:
        """Forget their sessions."""
        self.signed_in.discard(user_id)

    async def record(self, action: str, user_id: uuid.UUID) -> None:
        """Remember an event."""
        self.events.append((action, user_id))
