"""What scenarios are made of: handed to each by the composition root, and to nobody else."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from denizen.clock import Clock
from denizen.db.manager import DBSessionManager
from denizen.passwords.hasher import PasswordHasher
from denizen.tables import Tables
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)


@dataclass(frozen=True, slots=True)
class Parts(Generic[U]):
    """The database, the hasher, the clock, and the user's own class with the tables around it."""

    db: DBSessionManager
    hasher: PasswordHasher
    clock: Clock
    user_model: type[U]
    tables: Tables
    password_min: int
