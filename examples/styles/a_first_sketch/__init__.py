"""(a) The first sketch: one scenario class, ORM calls and commits inside, everything global.

Word for word as it was written, but for what it took to run:

* `hasher`, `settings`, `UserSchema`, `Base` and `user_scenario`, which it uses and doesn't show;
* `get_user_by_email` and "other crud methods", written the way `create_user` is;
* two small tables, for "erase with everything of theirs and an audit row".

The engine is made when `database.py` is imported, so another database needs another import.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import AsyncIterator

from sqlalchemy import MetaData

from styles.outer import Users


@contextlib.asynccontextmanager
async def open_users(url: str) -> AsyncIterator[Users]:
    """Open on a database: import everything anew."""
    os.environ["SKETCH_DATABASE_URL"] = url
    for name in [name for name in sys.modules if name.startswith(f"{__name__}.")]:
        del sys.modules[name]
    database = importlib.import_module(f"{__name__}.database")
    scenario = importlib.import_module(f"{__name__}.scenario").user_scenario
    try:
        yield Users(
            scenario.create_user,
            scenario.change_email,
            scenario.delete_user,
        )
    finally:
        with contextlib.suppress(Exception):  # a session that two used at once may refuse
            await scenario.db_session.close()
        await database.engine.dispose()


def __getattr__(name: str) -> MetaData:
    if name != "metadata":
        raise AttributeError(name)
    metadata: MetaData = importlib.import_module(f"{__name__}.models").Base.metadata
    return metadata
