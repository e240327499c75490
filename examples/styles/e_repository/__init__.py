"""(e) Repositories and a service with a unit of work.

`ports.py` says what the service needs, `sql.py` gives it over `denizen.db`, a test gives it in
memory. The service knows no session and no statement.
"""

import contextlib
from collections.abc import AsyncIterator

from denizen.db import DBSessionManager
from denizen.passwords.hasher import PasswordHasher
from styles.e_repository.model import Base
from styles.e_repository.service import UserService
from styles.e_repository.sql import SqlWork
from styles.outer import Users

metadata = Base.metadata


@contextlib.asynccontextmanager
async def open_users(url: str) -> AsyncIterator[Users]:
    """Open on a database."""
    manager, hasher = DBSessionManager(url), PasswordHasher()
    manager.init()
    service = UserService(SqlWork(manager).begin, hasher)
    try:
        yield Users(
            service.create_user,
            service.change_email,
            service.delete_user,
        )
    finally:
        hasher.close()
        await manager.close_connections()
