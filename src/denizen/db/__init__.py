"""The data layer: knows nothing of users or HTTP, and is usable alone.

`DBSessionManager` opens units of work, `Model` and `Verbs` give CRUD to your own tables, `Db` is
the type that everything below a unit takes.
"""

from denizen.db.engine import DatabaseSettings
from denizen.db.manager import DBSessionManager
from denizen.db.model import Model, Verbs
from denizen.db.paging import Order, Page, fetch_page
from denizen.db.unit import Db, after_commit

__all__ = [
    "DBSessionManager",
    "DatabaseSettings",
    "Db",
    "Model",
    "Order",
    "Page",
    "Verbs",
    "after_commit",
    "fetch_page",
]
