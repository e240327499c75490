"""Rerunning a whole unit: what was definitely not applied is tried again, what is unknown never.

Rules: after a serialization failure or a deadlock up to five runs, after a lock wait two, after a
lost or refused connection until `patience` is over; between runs a full-jitter pause of
5-200 ms, so that colliding units part. A unit must therefore be a closure that can run again:
no mail, no HTTP inside; effects go into rows, or into `after_commit`.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from denizen.db.errors import ConflictError, OutcomeUnknownError, UnavailableError

T = TypeVar("T")

MAX_RUNS: Final = 5
MAX_RUNS_LOCK_WAIT: Final = 2
FIRST_PAUSE: Final = 0.005
LONGEST_PAUSE: Final = 0.2


async def rerun(
    unit: Callable[[], Awaitable[T]],
    *,
    patience: float = 2.0,
    reasons: Counter[str] | None = None,
) -> T:
    """Give the unit's result, running it again while its failures allow that.

    Args:
        unit: owns its transaction: opens it anew at each call.
        patience: seconds during which a lost connection is tried again; what a caller waits at
            most is this plus the duration of one run.
        reasons: counts the reruns, by the class of the SQLSTATE behind each; `none`: no answer.

    Raises:
        ConflictError: still colliding after the last run.
        UnavailableError: still out of reach when `patience` was over.
        OutcomeUnknownError: at once, whatever the patience.
    """
    deadline = time.monotonic() + patience
    runs = 0
    while True:
        runs += 1
        try:
            return await unit()
        except OutcomeUnknownError:
            raise
        except ConflictError as error:
            if runs >= (MAX_RUNS_LOCK_WAIT if error.lock_wait else MAX_RUNS):
                raise
            reason = error.sqlstate
        except UnavailableError as error:
            if not error.connection_lost or time.monotonic() >= deadline:
                raise
            reason = error.sqlstate
        if reasons is not None:
            reasons[reason[:2] if reason else "none"] += 1
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**runs)
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311  # jitter, not a secret
