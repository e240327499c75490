"""Claims on keys: taken before an act and given back when it fails, whatever the database does.

Both the API's Idempotency-Key and the forms of the pages stand on them.
"""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row

from denizen.clock import Clock
from denizen.db.errors import DataError, OutcomeUnknownError
from denizen.db.manager import DBSessionManager
from denizen.db.unit import Db
from denizen.idempotency.queries import Claim, claim_key, keep_answer, release_key
from denizen.parts import Parts

_RELEASES: Final = 3  # tries, of which nobody knows the outcome
_LEFT_MAX: Final = 1000  # claims; of more than that the lease will end


class Claims:
    """Takes claims and gives them back.

    Args:
        parts: the database and its tables.
    """

    def __init__(self, parts: Parts[Any]) -> None:
        self._db: DBSessionManager = parts.db
        self._keys = parts.tables.idempotency
        self._clock: Clock = parts.clock
        self._left: dict[tuple[uuid.UUID, bytes], Claim] = {}  # the oldest first

    async def take(self, claim: Claim) -> Row[Any] | None:
        """Claim a key; None when it is ours now, or else the row with the answer that was given.

        Raises:
            IdempotencyMismatchError: the key was used for another request.
            IdempotencyBusyError: a request with this key is running.
        """
        left = self._left.pop(claim.of, None)
        if left is not None:
            await self.give_back(left)
        now = self._clock.db_now
        try:
            return await self._db.run(lambda db: claim_key(db, self._keys, claim, now))
        except OutcomeUnknownError:
            await self.give_back(replace(claim, is_sure=False))
            raise

    async def keep(
        self,
        db: Db,
        claim: Claim,
        *,
        status: int,
        headers: Mapping[str, str],
        body: bytes = b"",
    ) -> None:
        """Store the answer in the transaction of the effect.

        Raises:
            IdempotencyBusyError: the claim took too long and is somebody else's; the effect must
                not stand.
        """
        await keep_answer(db, self._keys, claim, status=status, headers=headers, body=body)

    async def give_back(self, claim: Claim) -> None:
        """Let the same request be tried again.

        While the database is away a claim is remembered, and given back when its key is asked for
        again; of a process that dies, the lease ends.
        """
        if not await self._release(claim):
            while len(self._left) >= _LEFT_MAX:
                del self._left[next(iter(self._left))]
            self._left[claim.of] = claim

    async def _release(self, claim: Claim) -> bool:
        """Tell whether it is done; what nobody knows is done again: that does no harm."""
        for _ in range(_RELEASES):
            try:
                await self._db.run(lambda db: release_key(db, self._keys, claim))
            except OutcomeUnknownError:
                continue
            except DataError:
                return False
            return True
        return False
