"""User accounts: a service that one command starts, and the typed async data layer under it."""

from denizen.app import Denizen
from denizen.db.manager import DBSessionManager
from denizen.users.model import UserMixin, UserModel

__all__ = ["DBSessionManager", "Denizen", "UserMixin", "UserModel"]
