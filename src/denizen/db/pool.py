"""The pool of connections: SQLAlchemy's, with a queue in which nobody is overtaken.

SQLAlchemy's queue gives a connection that comes back to whoever asks next, even while others wait:
under load some wait until their deadline although the pool turns over all the time. Here it goes to
whoever has waited longest.
"""

import asyncio
import contextlib
import time
from collections import deque
from typing import Any, Final, cast

from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, Pool
from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet
from sqlalchemy.util.queue import AsyncAdaptedQueue, Empty, Full

from denizen.db.tally import PoolState

_LOOK_EVERY: Final = 0.01  # seconds


class _FairQueue(AsyncAdaptedQueue[Any]):
    """Connections at rest, and those who wait for one in the order in which they came."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:  # SQLAlchemy's signature
        super().__init__(maxsize, use_lifo)
        self._idle: deque[Any] = deque()
        self._waiting: deque[asyncio.Future[Any]] = deque()  # none while a connection is at rest
        self.waited = self.timed_out = 0

    def empty(self) -> bool:
        return not self._idle

    def full(self) -> bool:
        return 0 < self.maxsize <= len(self._idle)

    def qsize(self) -> int:
        return len(self._idle)

    def put_nowait(self, item: Any) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(item)
                return
        if self.full():
            raise Full
        self._idle.append(item)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002
        self.put_nowait(item)

    def get_nowait(self) -> Any:
        if not self._idle:
            raise Empty
        return self._idle.pop() if self.use_lifo else self._idle.popleft()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if self._idle or not block:
            return self.get_nowait()
        return await_only(self._next(timeout))

    async def _next(self, timeout: float | None) -> Any:  # noqa: ASYNC109  # of SQLAlchemy
        self.waited += 1
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():  # it came in the same moment
                self.put_nowait(waiter.result())
            if isinstance(error, TimeoutError):
                self.timed_out += 1
                raise Empty from None
            raise


class FairPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool over the fair queue; without overflow, so that none is closed on return.

    What comes back after `dispose` is closed, for nobody would do it later.
    """

    _queue_class = _FairQueue
    _sqla_logger_namespace = "sqlalchemy.pool.FairPool"  # its talk is SQLAlchemy's, not ours
    _is_over = False

    def dispose(self) -> None:
        """Close what is at rest, and from now on whatever comes back."""
        self._is_over = True
        super().dispose()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        if self._is_over:
            record.invalidate()
        super()._do_return_conn(record)

    @property
    def state(self) -> PoolState:
        """How it is: what is open and at rest is not in use."""
        queue = cast("_FairQueue", self._pool)
        return PoolState(self.size(), self.checkedout(), queue.waited, queue.timed_out)


async def drain(pool: Pool, patience: float) -> None:
    """Wait until nobody has a connection any more, up to `patience` seconds."""
    deadline = time.monotonic() + patience
    while isinstance(pool, FairPool) and pool.checkedout() and time.monotonic() < deadline:  # noqa: ASYNC110  # a pool has no event
        await asyncio.sleep(_LOOK_EVERY)


async def borrow(pool: Pool) -> Any:
    """Take a connection out of the pool.

    One at rest is taken without a greenlet, which would cost as much as the read (`bench/`).
    """
    if isinstance(pool, FairPool) and pool.checkedin():
        with contextlib.suppress(MissingGreenlet):  # it is closed or too old: `refuse_to_connect`
            return pool.connect()
    return await greenlet_spawn(pool.connect)


async def give_back(pool: Pool, borrowed: Any) -> None:
    """Put a connection on which nothing was begun back into the pool."""
    if isinstance(pool, FairPool):
        borrowed.close()
    else:
        await greenlet_spawn(borrowed.close)


def refuse_to_connect(*_: object) -> None:
    """Have nothing connect outside a greenlet, before it begins to: for `do_connect`."""
    if not in_greenlet():
        raise MissingGreenlet
