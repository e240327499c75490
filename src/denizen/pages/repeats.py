"""A form that is sent twice, by a double click or by going back, acts once and answers alike."""

import asyncio
import contextlib
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from denizen.clock import Clock
from denizen.db.errors import DataError
from denizen.db.manager import DBSessionManager
from denizen.db.unit import Db
from denizen.errors import IdempotencyBusyError
from denizen.idempotency.queries import Claim, claim_key, keep_answer, release_key
from denizen.parts import Parts

_PATIENCE: Final = 100  # looks at a request that is still running
_PAUSE: Final = 0.1  # seconds between two


@dataclass(frozen=True, slots=True)
class Left:
    """Where an act leads, and what is said there."""

    path: str
    said: str


class Repeats:
    """Runs acts once for each form, on the table of Idempotency-Keys.

    Args:
        parts: the database and its tables.
    """

    def __init__(self, parts: Parts[Any]) -> None:
        self._db: DBSessionManager = parts.db
        self._keys = parts.tables.idempotency
        self._clock: Clock = parts.clock

    async def run(
        self, whose: uuid.UUID, form: bytes, act: Callable[[Db], Awaitable[Left]]
    ) -> Left | None:
        """Run `act` in a unit that scenarios may join; None when it ran here.

        When the same form acted before, give where it led; while it still acts, wait for it.

        Raises:
            IdempotencyBusyError: the other one takes too long.
        """
        claim = Claim(whose, form, hashlib.sha256(form).digest(), uuid.uuid4())
        before = await self._claim(claim)
        if before is not None:
            return before

        async def unit(db: Db) -> None:
            left = await act(db)
            told = {"location": left.path, "flash": left.said}
            await keep_answer(db, self._keys, claim, status=303, headers=told, body=b"")

        try:
            await self._db.run(unit)
        except BaseException:
            with contextlib.suppress(DataError):
                await self._db.run(lambda db: release_key(db, self._keys, claim))
            raise
        return None

    async def _claim(self, claim: Claim) -> Left | None:
        now = self._clock.db_now  # no instant, but the words for it in a statement
        for _ in range(_PATIENCE):
            with contextlib.suppress(IdempotencyBusyError):
                row = await self._db.run(lambda db: claim_key(db, self._keys, claim, now))
                return None if row is None else Left(row.headers["location"], row.headers["flash"])
            await asyncio.sleep(_PAUSE)
        raise IdempotencyBusyError
