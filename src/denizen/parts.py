"""What scenarios are made of: handed to each by the composition root, and to nobody else."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Table

from denizen.audit.model import audit_table
from denizen.clock import Clock
from denizen.db.manager import DBSessionManager
from denizen.imports.model import imports_table, refusals_table
from denizen.keys.model import keys_table
from denizen.passwords.hasher import PasswordHasher
from denizen.sessions.model import sessions_table
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables beside a users table, in its metadata."""

    sessions: Table
    audit: Table
    keys: Table
    imports: Table
    refusals: Table

    @classmethod
    def of(cls, users: Table) -> "Tables":
        """Give the tables, made at the first call."""
        return cls(
            sessions=sessions_table(users),
            audit=audit_table(users),
            keys=keys_table(users),
            imports=imports_table(users),
            refusals=refusals_table(users),
        )


@dataclass(frozen=True, slots=True)
class Parts(Generic[U]):
    """The database, the hasher, the clock, and the user's own class with the tables around it."""

    db: DBSessionManager
    hasher: PasswordHasher
    clock: Clock
    user_model: type[U]
    tables: Tables
    password_min: int
