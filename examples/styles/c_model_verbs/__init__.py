"""(c) CRUD on the model, the way denizen itself does it.

The verbs come from `denizen.db.Model`, take `db` and never commit; what is more than a verb is a
query; a scenario owns the unit of work.
"""

import contextlib
from collections.abc import AsyncIterator

from denizen.db import DBSessionManager
from denizen.passwords.hasher import PasswordHasher
from styles.c_model_verbs.model import Base
from styles.c_model_verbs.scenarios import UserScenarios
from styles.outer import Users

metadata = Base.metadata


@contextlib.asynccontextmanager
async def open_users(url: str) -> AsyncIterator[Users]:
    """Open on a database."""
    db, hasher = DBSessionManager(url), PasswordHasher()
    db.init()
    scenarios = UserScenarios(db, hasher)
    try:
        yield Users(
            scenarios.create_user,
            scenarios.change_email,
            scenarios.delete_user,
        )
    finally:
        hasher.close()
        await db.close_connections()
