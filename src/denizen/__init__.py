"""User accounts: a service that one command starts, and the typed async data layer under it.

The names are loaded when they are asked for: whoever needs one module of this package (a process
that reads files to import, say) does not load the framework and the database's driver with it.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from denizen.app import Denizen
    from denizen.db.manager import DBSessionManager
    from denizen.users.model import UserMixin, UserModel

__all__ = ["DBSessionManager", "Denizen", "UserMixin", "UserModel"]
_HOMES: Final = {
    "DBSessionManager": "denizen.db.manager",
    "Denizen": "denizen.app",
    "UserMixin": "denizen.users.model",
    "UserModel": "denizen.users.model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
