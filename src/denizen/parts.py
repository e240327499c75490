"""What scenarios are made of: handed to each by the composition root, and to nobody else."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, Literal, TypeVar

from denizen.clock import Clock
from denizen.db.manager import DBSessionManager
from denizen.passwords.hasher import PasswordHasher
from denizen.tables import Tables
from denizen.tally import Tally
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)
Registration = Literal["open", "invite", "off"]


@dataclass(frozen=True, slots=True)
class Parts(Generic[U]):
    """The database, the hasher, the clock, the user's own class with the tables around it, rules.

    Attributes:
        context_words: words of the service that no password may be made of.
        throttled: whether limits are held; off for load tests alone.
        turns: how many may spend from limits at once. They wait for each other's rows, and every
            connection that waits is one that readers don't have.
        tally: what was done so far.
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
    tally: Tally = field(default_factory=Tally)
