"""Reads that may be stale go to servers that follow the primary, as long as one of them answers.

Never what decides who may do what, and never what its caller has just written: a replica lags
behind by as much as it likes, and nobody is told.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Generic, Protocol, TypeVar

from sqlalchemy import select

from denizen.db.errors import ConflictError, UnavailableError

T = TypeVar("T")
_AWAY: Final = 2.0  # seconds in which none is asked, after one was asked in vain
_TOO_SLOW: Final = "57014"  # the time limit for statements: the primary would take as long


class MissedError(Exception):
    """Raised when no replica could answer, and the primary may."""


class Reader(Protocol):
    """What opens reads on the replicas."""

    def get_session(self, *, read_only: bool = False) -> AbstractAsyncContextManager[Any]:
        """Open a unit."""
        ...


R = TypeVar("R", bound=Reader)


class Replicas(Generic[R]):
    """The servers that follow.

    Args:
        reader: opens reads on whichever of them answers.

    Attributes:
        reader: the same.
        missed: reads that were left to the primary.
    """

    def __init__(self, reader: R) -> None:
        self.reader = reader
        self.missed = 0
        self._away_until = 0.0

    async def read(self, unit: Callable[[Any], Awaitable[T]]) -> T:
        """Give the result of a read, run once.

        Raises:
            MissedError: none could answer it.
            DataError: what the primary would say, too.
        """
        if time.monotonic() < self._away_until:
            raise self._missed()
        try:
            async with self.reader.get_session(read_only=True) as db:
                return await unit(db)
        except (ConflictError, UnavailableError) as error:  # a conflict: with what it replays
            if self._is_slow(error):
                raise
            raise self._missed(error) from None

    async def are_there(self) -> bool:
        """Whether one of them answers; a read that begins now has somebody to ask."""
        try:
            await self.read(lambda db: db.execute(select(1)))
        except (MissedError, UnavailableError):
            return False
        return True

    @staticmethod
    def _is_slow(error: ConflictError | UnavailableError) -> bool:
        """Whether a statement took too long: load, and no fault. The primary would be no faster.

        To wait for a connection in vain is a fault: a replica that hangs holds them all.
        """
        return isinstance(error, UnavailableError) and error.sqlstate == _TOO_SLOW

    def _missed(self, error: ConflictError | UnavailableError | None = None) -> MissedError:
        self.missed += 1
        if isinstance(error, UnavailableError):
            self._away_until = time.monotonic() + _AWAY
        return MissedError()
