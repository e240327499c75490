"""The ports over `denizen.db`."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import delete, or_, select

from denizen.db import Db, DBSessionManager
from denizen.db.model import insert_row, update_row
from denizen.users.values import email_key
from styles.e_repository.model import AuditEvent, Session, User
from styles.e_repository.ports import UnitOfWork


class SqlUsers:
    """The users, in a table."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def taken_fields(self, email: str, username: str) -> tuple[str, ...]:
        """Give which of the two belong to somebody: a courtesy that spares a hash."""
        key = email_key(email)
        is_same = or_(User.email_key == key, User.username == username)
        users = (await self._db.scalars(select(User).where(is_same))).all()
        taken = {
            "email": any(user.email_key == key for user in users),
            "username": any(user.username == username for user in users),
        }
        return tuple(field for field, is_taken in taken.items() if is_taken)

    async def add(self, user: User) -> None:
        """Add a user."""
        await insert_row(self._db, user)

    async def lock(self, user_id: uuid.UUID) -> User | None:
        """Give a user, locked until the unit ends."""
        newest = select(User).where(User.id == user_id).execution_options(populate_existing=True)
        found: User | None = await self._db.scalar(newest.with_for_update(key_share=True))
        return found

    async def save(self, user: User, *, version: int | None) -> None:
        """Write a changed user, unless their version is another."""
        await update_row(self._db, user, version=version)

    async def remove(self, user_id: uuid.UUID) -> bool:
        """Remove a user; whether there was one."""
        result: Any = await self._db.execute(delete(User).where(User.id == user_id))
        return bool(result.rowcount)


class SqlSessions:
    """The signed-in devices, in a table."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def end_all(self, user_id: uuid.UUID) -> None:
        """End every session of a user."""
        await self._db.execute(delete(Session).where(Session.user_id == user_id))


class SqlAuditLog:
    """What happened, in a table."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def record(self, action: str, user_id: uuid.UUID) -> None:
        """Add an event."""
        await insert_row(self._db, AuditEvent(user_id=user_id, action=action))


class SqlUnitOfWork:
    """Repositories on one session."""

    def __init__(self, db: Db) -> None:
        self.users = SqlUsers(db)
        self.sessions = SqlSessions(db)
        self.audit = SqlAuditLog(db)


class SqlWork:
    """Opens units of work on a manager."""

    def __init__(self, manager: DBSessionManager) -> None:
        self._manager = manager

    @contextlib.asynccontextmanager
    async def begin(self, *, read_only: bool = False) -> AsyncIterator[UnitOfWork]:
        """Open one."""
        async with self._manager.get_session(read_only=read_only) as db:
            yield SqlUnitOfWork(db)
