"""What has to happen without anybody asking: erasing who asked for it, forgetting what is over.

Every worker does it; what one has locked the others pass over, and what is done twice does nothing.
"""

import asyncio
import functools
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, Generic, TypeVar

from denizen.audit import queries as audit
from denizen.audit.model import Actor
from denizen.db.errors import DataError
from denizen.db.purging import PURGED_AT_ONCE
from denizen.db.unit import Db
from denizen.idempotency import queries as idempotency
from denizen.mail import queries as mail
from denizen.parts import Parts
from denizen.sessions import queries as sessions
from denizen.throttle import queries as throttle
from denizen.tokens import queries as tokens
from denizen.users.erasure import erase
from denizen.users.model import UserMixin
from denizen.users.queries import due_for_erasure, lock_due

T = TypeVar("T")
U = TypeVar("U", bound=UserMixin)

EVERY: Final = 300.0  # seconds
ERASED_AT_ONCE: Final = 1000
CLOCKWORK: Final = Actor("operator")
_log = logging.getLogger(__name__)


class Housekeeper(Generic[U]):
    """Cleans up every five minutes.

    Args:
        parts: the database and its tables.
        audit_life: how long events are kept.
    """

    def __init__(self, parts: Parts[U], audit_life: timedelta) -> None:
        self._parts = parts
        self._audit_life = audit_life

    async def run(self) -> None:
        """Clean up until cancelled; a database that is away is waited for."""
        while True:
            await asyncio.sleep(EVERY)
            await self.clean_up()

    async def clean_up(self) -> None:
        """Do all of it once, each in a unit of its own; what fails is logged and stops no other."""
        model, now = self._parts.user_model, self._parts.clock.db_now
        due = await self._try(lambda db: due_for_erasure(db, model, now, limit=ERASED_AT_ONCE))
        for user_id in due or ():
            await self._try(functools.partial(self._erase, user_id))
        for work in self._purges():
            while await self._try(work) == PURGED_AT_ONCE:
                pass

    async def _erase(self, user_id: uuid.UUID, db: Db) -> None:
        user = await lock_due(db, self._parts.user_model, user_id, self._parts.clock.db_now)
        if user is not None:
            await erase(db, self._parts, user, CLOCKWORK)

    async def _try(self, work: Callable[[Db], Awaitable[T]]) -> T | None:
        try:
            return await self._parts.db.run(work)
        except DataError as error:
            _log.warning("cleaning up has to wait: %s", error.code)
        except Exception as error:  # noqa: BLE001  # a defect must not end it for good
            _log.error("cleaning up failed: %s", type(error).__name__)
        return None

    def _purges(self) -> list[Callable[[Db], Awaitable[int]]]:
        tables, clock = self._parts.tables, self._parts.clock
        now, oldest = clock.db_now, clock.now() - self._audit_life
        return [
            lambda db: sessions.purge_over(db, tables.sessions, now),
            lambda db: sessions.purge_networks(db, tables.networks, now),
            lambda db: tokens.purge(db, tables.tokens, now),
            lambda db: mail.purge(db, tables.outbox, now),
            lambda db: idempotency.purge(db, tables.idempotency, now),
            lambda db: throttle.purge(db, tables.throttles, clock.skew),
            lambda db: audit.purge(db, tables.audit, oldest),
        ]
