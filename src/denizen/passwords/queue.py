"""Heavy work in threads: as many jobs at once as there are slots, and everybody else takes turns.

The queue is bounded by time, and fair. Whose turn is next goes round the origins of the jobs (the
networks of clients), and when the queue is full, the origin that has most in it gives way to one
that has less: who sends a thousand jobs waits for their own thousand, and nobody else does.
"""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from denizen.errors import OverloadedError

T = TypeVar("T")
_FIRST_GUESS: Final = 0.03  # seconds for a job, until one was measured
_NICENESS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    origin: str
    work: Callable[[], Any]
    future: "Future[Any]" = field(default_factory=Future)


class FairQueue:
    """Runs jobs; a slot is free again when the work ends, whoever has stopped waiting for it.

    Args:
        slots: threads.
        seconds: longest wait for a slot, by the running mean of a job; beyond it, refused.

    Attributes:
        waiting: jobs in the queue.
        running: jobs being done.
        refused: jobs turned away since the queue was full.
    """

    def __init__(self, slots: int, seconds: float) -> None:
        self._slots = slots
        self._seconds = seconds
        self._mean = _FIRST_GUESS
        self._lock = threading.Lock()
        self._queued: OrderedDict[str, deque[_Job]] = OrderedDict()  # the next turn's origin first
        self._threads = self._new_threads()
        self.waiting = self.running = self.refused = 0

    def require_room(self, origin: str) -> None:
        """See that a job would be taken now: whoever has work to do before asks here first.

        Raises:
            OverloadedError: the queue is full, and no origin has more in it.
        """
        with self._lock:
            self._find_room(origin)

    async def run(self, origin: str, work: Callable[[], T]) -> T:
        """Give what the work gives.

        Raises:
            OverloadedError: there was no room, or it was given to somebody who had less; or there
                was no memory for the work, or for a thread.
        """
        job = _Job(origin, work)
        with self._lock:
            given_up = self._find_room(origin)
            if given_up is not None:
                self._leave(given_up)
                self.refused += 1
            self._queued.setdefault(origin, deque()).append(job)
            self.waiting += 1
        # not under our lock: what the futures call back takes it
        if given_up is not None:
            with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
                given_up.future.set_exception(OverloadedError())
        job.future.add_done_callback(lambda _: self._forget(job))
        try:
            self._threads.submit(self._take_turn)
        except RuntimeError:  # no thread can be started
            job.future.cancel()
            raise OverloadedError from None
        result: T = await asyncio.wrap_future(job.future)
        return result

    def close(self) -> None:
        """End the threads; queued jobs are dropped, running ones end in their own time.

        A job that comes later starts new ones: an app may be started again.
        """
        ended, self._threads = self._threads, self._new_threads()
        ended.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            dropped = [job for jobs in self._queued.values() for job in jobs]
        for job in dropped:
            job.future.cancel()

    def _new_threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(
            self._slots, thread_name_prefix="hashing", initializer=_yield_to_others
        )

    def _find_room(self, origin: str) -> _Job | None:
        """Give the job that has to give way, or None where there is room without."""
        if self.waiting * self._mean / self._slots <= self._seconds:
            return None
        most = max(self._queued.values(), key=len)
        if len(most) > len(self._queued.get(origin, ())) + 1:
            return most[-1]
        self.refused += 1
        raise OverloadedError

    def _take_turn(self) -> None:
        with self._lock:
            job = self._next()
        if job is None or not job.future.set_running_or_notify_cancel():
            return
        with self._lock:
            self.running += 1
        began = time.perf_counter()
        try:
            result = job.work()
        except MemoryError:
            self._end(began)
            job.future.set_exception(OverloadedError())
        except BaseException as error:  # noqa: BLE001  # whoever waits gets it
            self._end(began)
            job.future.set_exception(error)
        else:
            self._end(began)
            job.future.set_result(result)

    def _next(self) -> _Job | None:
        """Take the first job of the origin whose turn it is; its next one is behind the others'."""
        if not self._queued:
            return None
        origin, jobs = self._queued.popitem(last=False)
        job = jobs.popleft()
        if jobs:
            self._queued[origin] = jobs
        self.waiting -= 1
        return job

    def _end(self, began: float) -> None:
        took = time.perf_counter() - began
        with self._lock:
            self.running -= 1
            self._mean += (took - self._mean) / 8

    def _forget(self, job: _Job) -> None:
        """Take a job that was cancelled out of the queue; only a queued one can be."""
        if job.future.cancelled():
            with self._lock:
                self._leave(job)

    def _leave(self, job: _Job) -> None:
        jobs = self._queued.get(job.origin, deque())
        if job in jobs:
            jobs.remove(job)
            self.waiting -= 1
        if not jobs:
            self._queued.pop(job.origin, None)


def _yield_to_others() -> None:
    """Let the event loop have a core before this thread has; Linux alone knows of a thread's."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
