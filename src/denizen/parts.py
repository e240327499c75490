"""What scenarios are made of: handed to each by the composition root, and to nobody else."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Literal, TypeVar

from sqlalchemy import Table

from denizen.audit.model import audit_table
from denizen.clock import Clock
from denizen.db.manager import DBSessionManager
from denizen.idempotency.model import idempotency_table
from denizen.keys.model import keys_table
from denizen.mail.model import outbox_table
from denizen.passwords.hasher import PasswordHasher
from denizen.sessions.model import networks_table, sessions_table
from denizen.throttle.model import throttles_table
from denizen.tokens.model import tokens_table
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)
Registration = Literal["open", "invite", "off"]


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
        )


@dataclass(frozen=True, slots=True)
class Parts(Generic[U]):
    """The database, the hasher, the clock, the user's own class with the tables around it, rules.

    Attributes:
        context_words: words of the service that no password may be made of.
        throttled: whether limits are held; off for load tests alone.
        turns: how many may spend from limits at once. They wait for each other's rows, and every
            connection that waits is one that readers don't have.
    """

    db: DBSessionManager
    hasher: PasswordHasher
    clock: Clock
    user_model: type[U]
    tables: Tables
    password_min: int
    reset_life: timedelta
    registration: Registration
    throttled: bool
    context_words: Sequence[str]
    turns: asyncio.Semaphore
