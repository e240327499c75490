"""User accounts: a service that one command starts, and the typed async data layer under it.

The names are loaded when they are asked for: whoever needs one module of this package (a process
that reads files to import, say) does not load the framework and the database's driver with it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from denizen.app import Denizen
    from denizen.db.manager import DBSessionManager
    from denizen.users.model import UserMixin, UserModel

__all__ = ["DBSessionManager", "Denizen", "UserMixin", "UserModel"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from denizen import app  # noqa: PLC0415  # the point of it all

    return getattr(app, name)
