"""What the service needs of the outside, as protocols."""

import uuid
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from styles.e_repository.model import User


class UserRepository(Protocol):
    """The users."""

    async def taken_fields(self, email: str, username: str) -> tuple[str, ...]:
        """Give which of the two belong to somebody: a courtesy that spares a hash."""
        ...

    async def add(self, user: User) -> None:
        """Add a user; TakenError when a unique value belongs to another."""
        ...

    async def lock(self, user_id: uuid.UUID) -> User | None:
        """Give a user, locked until the unit ends."""
        ...

    async def save(self, user: User, *, version: int | None) -> None:
        """Write a changed user, unless their version is another; TakenError as `add`."""
        ...

    async def remove(self, user_id: uuid.UUID) -> bool:
        """Remove a user; whether there was one."""
        ...


class SessionRepository(Protocol):
    """The signed-in devices."""

    async def end_all(self, user_id: uuid.UUID) -> None:
        """End every session of a user."""
        ...


class AuditLog(Protocol):
    """What happened."""

    async def record(self, action: str, user_id: uuid.UUID) -> None:
        """Add an event."""
        ...


class UnitOfWork(Protocol):
    """Repositories that share one transaction."""

    @property
    def users(self) -> UserRepository:
        """The users."""
        ...

    @property
    def sessions(self) -> SessionRepository:
        """The signed-in devices."""
        ...

    @property
    def audit(self) -> AuditLog:
        """What happened."""
        ...


class Begin(Protocol):
    """Opens a unit of work: committed at the end of its block, rolled back on any error."""

    def __call__(self, *, read_only: bool = False) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open one."""
        ...


class Hasher(Protocol):
    """Hashes passwords off the event loop."""

    async def hash(self, password: str) -> str:
        """Give what is stored."""
        ...
