"""(d) Free functions: the model is columns, every statement and every use case is a function.

What a function needs is a parameter: `db` for a statement, the manager and the hasher for a use
case, bound once where everything is put together.
"""

import contextlib
from collections.abc import AsyncIterator
from functools import partial

from denizen.db import DBSessionManager
from denizen.passwords.hasher import PasswordHasher
from styles.d_functions import use_cases
from styles.d_functions.model import Base
from styles.outer import Users

metadata = Base.metadata


@contextlib.asynccontextmanager
async def open_users(url: str) -> AsyncIterator[Users]:
    """Open on a database."""
    manager, hasher = DBSessionManager(url), PasswordHasher()
    manager.init()
    try:
        yield Users(
            partial(use_cases.create_user, manager, hasher),
            partial(use_cases.change_email, manager),
            partial(use_cases.delete_user, manager),
        )
    finally:
        hasher.close()
        await manager.close_connections()
