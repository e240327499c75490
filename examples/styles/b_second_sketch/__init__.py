"""(b) The second sketch: a session manager, and CRUD as classmethods of the model.

Word for word as it was written, but for what it took to run:

* `hasher`, `settings`, `UserSchema` and `Base`, which it uses and doesn't show;
* the scenario opens a session of the manager's (it names an undefined `db`), and calls
  `get_by_email` by its name and with that session;
* `get_by_email` gives the user and not the result, or every registration would be refused
  (`as_written.py` keeps the lines that could not stay, and the contract shows why);
* `change_email` and `delete_user`, written from its verbs, and the two verbs that the other two
  tables need, copied from the user's.
"""

import contextlib
import os
from collections.abc import AsyncIterator

from styles.b_second_sketch.manager import DBSessionManager
from styles.b_second_sketch.models import Base
from styles.b_second_sketch.scenario import Scenario
from styles.outer import Users

metadata = Base.metadata


@contextlib.asynccontextmanager
async def open_users(url: str) -> AsyncIterator[Users]:
    """Open on a database."""
    os.environ["SKETCH_DATABASE_URL"] = url
    manager = DBSessionManager()
    manager.init()
    scenario = Scenario(manager)
    yield Users(
        scenario.create_user,
        scenario.change_email,
        scenario.delete_user,
    )
    await manager.close_connections()
