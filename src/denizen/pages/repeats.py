"""A form that is sent twice, by a double click or by going back, acts once and answers alike."""

import asyncio
import contextlib
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from denizen.db.manager import DBSessionManager
from denizen.db.unit import Db
from denizen.errors import IdempotencyBusyError
from denizen.idempotency.claims import Claims
from denizen.idempotency.queries import Claim
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
        self._claims = Claims(parts)

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
            await self._claims.keep(db, claim, status=303, headers=told)

        try:
            await self._db.run(unit)
        except BaseException:
            await self._claims.give_back(claim)
            raise
        return None

    async def _claim(self, claim: Claim) -> Left | None:
        for _ in range(_PATIENCE):
            with contextlib.suppress(IdempotencyBusyError):
                row = await self._claims.take(claim)
                return None if row is None else Left(row.headers["location"], row.headers["flash"])
            await asyncio.sleep(_PAUSE)
        raise IdempotencyBusyError
