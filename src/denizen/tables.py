"""The tables that hold a user's things, beside whatever table the users are in."""

from dataclasses import dataclass

from sqlalchemy import Table

from denizen.audit.model import audit_table
from denizen.idempotency.model import idempotency_table
from denizen.imports.model import imports_table, refusals_table
from denizen.keys.model import keys_table
from denizen.mail.model import outbox_table
from denizen.sessions.model import networks_table, sessions_table
from denizen.throttle.model import throttles_table
from denizen.tokens.model import tokens_table


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables beside a users table, in its metadata."""

    sessions: Table
    networks: Table
    tokens: Table
    outbox: Table
    throttles: Table
    idempotency: Table
    audit: Table
    keys: Table
    imports: Table
    refusals: Table

    @classmethod
    def of(cls, users: Table) -> "Tables":
        """Give the tables, made at the first call."""
        return cls(
            sessions=sessions_table(users),
            networks=networks_table(users),
            tokens=tokens_table(users),
            outbox=outbox_table(users),
            throttles=throttles_table(users),
            idempotency=idempotency_table(users),
            audit=audit_table(users),
            keys=keys_table(users),
            imports=imports_table(users),
            refusals=refusals_table(users),
        )
