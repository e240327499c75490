"""What has to happen without anybody asking: erasing who asked for it, forgetting what is over.

Every worker does it; what one has locked the others pass over, and what is done twice does nothing.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final, Generic, TypeVar

from denizen.audit import queries as audit
from denizen.audit.model import Actor
from denizen.db.errors import DataError
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
            try:
                await self.clean_up()
            except DataError as error:
                _log.warning("cleaning up has to wait: %s", error.code)
            except Exception as error:  # noqa: BLE001  # a defect must not end it for good
                _log.error("cleaning up failed: %s", type(error).__name__)

    async def clean_up(self) -> None:
        """Do all of it once, each piece in a unit of its own: one that fails stops no other."""
        model, now = self._parts.user_model, self._parts.clock.db_now
        due = await self._parts.db.run(
            lambda db: due_for_erasure(db, model, now, limit=ERASED_AT_ONCE), read_only=True
        )
        for user_id in due:
            await self._do(partial(self._erase, user_id=user_id), f"erasing {user_id}")
        for work in self._purges():
            await self._do(work, "cleaning up")

    async def _do(self, work: Callable[[Db], Awaitable[Any]], name: str) -> None:
        try:
            await self._parts.db.run(work)
        except Exception as error:  # noqa: BLE001  # a defect in one place stops no other, either
            _log.warning("%s has to wait: %s", name, type(error).__name__)

    async def _erase(self, db: Db, user_id: uuid.UUID) -> None:
        now = self._parts.clock.db_now
        user = await lock_due(db, self._parts.user_model, user_id, now)
        if user is not None:
            await erase(db, self._parts, user, CLOCKWORK)

    def _purges(self) -> list[Callable[[Db], Awaitable[Any]]]:
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
