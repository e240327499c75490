"""The tables that hold a user's things, beside whatever table the users are in."""

from dataclasses import dataclass

from sqlalchemy import Table

from denizen.audit.model import audit_table
from denizen.keys.model import keys_table
from denizen.sessions.model import sessions_table


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables beside a users table, in its metadata."""

    sessions: Table
    audit: Table
    keys: Table

    @classmethod
    def of(cls, users: Table) -> "Tables":
        """Give the tables, made at the first call."""
        return cls(sessions_table(users), audit_table(users), keys_table(users))
