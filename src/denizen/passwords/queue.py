"""Heavy work in threads: as many jobs at once as there are slots, and everybody else takes turns.

The queue is bounded by time, and fair. Whose turn is next goes round the networks that jobs come
from, and when the queue is full, the network that has most in it gives way to one that has less:
who sends a thousand jobs waits for their own thousand, and nobody else does.

A place in the queue is taken before its work is known: whoever comes when it is full is refused
before they read anything or pay for a try.
"""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from denizen.errors import OverloadedError

T = TypeVar("T")
_FIRST_GUESS: Final = 0.03  # seconds for a job, until one was measured
_NICENESS: Final = 10


class Place:
    """A place in the queue; `run` is called once, or never."""

    def __init__(self, queue: "FairQueue", network: str) -> None:
        self._queue = queue
        self.network = network
        self.work: Callable[[], Any]
        self.is_usual = True
        self.future: Future[Any] = Future()

    def require(self) -> None:
        """See that the place is still there, before something is done for it.

        Raises:
            OverloadedError: it was given to somebody who had less.
        """
        if self.future.done():
            raise OverloadedError

    def refuse(self) -> None:
        """Tell whoever has the place that it is gone; not under the queue's lock."""
        with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
            self.future.set_exception(OverloadedError())

    async def run(self, work: Callable[[], T], *, is_usual: bool = True) -> T:
        """Give what the work gives.

        Args:
            work: done in a thread.
            is_usual: whether its time says anything of the others'; a heavy one closes the queue
                to nobody.

        Raises:
            OverloadedError: the place was given to somebody who had less, or there was no memory
                for the work, or for a thread.
        """
        self.work, self.is_usual = work, is_usual
        self._queue.line_up(self)
        result: T = await asyncio.wrap_future(self.future)
        return result


class FairQueue:
    """Runs jobs; a slot is free again when the work ends, whoever has stopped waiting for it.

    Args:
        slots: threads.
        seconds: longest wait for a slot, by the running mean of a job; beyond it, refused.

    Attributes:
        waiting: places taken in the queue.
        running: jobs being done.
        refused: jobs turned away since the queue was full.
    """

    def __init__(self, slots: int, seconds: float) -> None:
        self._slots = slots
        self._seconds = seconds
        self._mean = _FIRST_GUESS
        self._lock = threading.Lock()
        self._taken: dict[str, dict[Place, None]] = {}  # in the order in which they came
        self._ready: OrderedDict[str, deque[Place]] = OrderedDict()  # the next turn's network first
        self._threads = self._new_threads()
        self.waiting = self.running = self.refused = 0

    @property
    def wait(self) -> float:
        """Seconds until the job of whoever has the latest place is done, by the running mean."""
        before = max(0, self.waiting - 1) + self.running
        return self._mean * (1 + before / self._slots)

    @contextlib.contextmanager
    def place(self, network: str) -> Iterator[Place]:
        """Take a place, and leave it at the end of the block unless its work has begun.

        Raises:
            OverloadedError: the queue is full, and no network has more in it.
        """
        place = Place(self, network)
        with self._lock:
            given_up = self._find_room(network)
            if given_up is not None:
                self._leave(given_up)
                self.refused += 1
            self._taken.setdefault(network, {})[place] = None
            self.waiting += 1
        if given_up is not None:
            given_up.refuse()
        try:
            yield place
        finally:
            with self._lock:
                self._leave(place)

    def line_up(self, place: Place) -> None:
        """Have a place's work done when it is its turn; one that was given up is not.

        Raises:
            OverloadedError: there is no thread for it.
        """
        with self._lock:
            if place not in self._taken.get(place.network, {}):
                return
            self._ready.setdefault(place.network, deque()).append(place)
        try:
            self._threads.submit(self._take_turn)
        except RuntimeError:  # no thread can be started
            raise OverloadedError from None

    def close(self) -> None:
        """End the threads; places are given up, running jobs end in their own time.

        A job that comes later starts new ones: an app may be started again.
        """
        ended, self._threads = self._threads, self._new_threads()
        ended.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            dropped = [place for places in self._taken.values() for place in places]
            for place in dropped:
                self._leave(place)
        for place in dropped:
            place.refuse()

    def _new_threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(
            self._slots, thread_name_prefix="hashing", initializer=_yield_to_others
        )

    def _find_room(self, network: str) -> Place | None:
        """Give the place that has to be given up, or None where there is room without."""
        if self.waiting * self._mean / self._slots <= self._seconds:
            return None
        most = max(self._taken.values(), key=len)
        if len(most) > len(self._taken.get(network, ())) + 1:
            return next(reversed(most))
        self.refused += 1
        raise OverloadedError

    def _take_turn(self) -> None:
        with self._lock:
            place = self._next()
        if place is None or not place.future.set_running_or_notify_cancel():
            return
        with self._lock:
            self.running += 1
        began = time.perf_counter()
        try:
            result = place.work()
        except MemoryError:
            self._end(place, began)
            place.future.set_exception(OverloadedError())
        except BaseException as error:  # noqa: BLE001  # whoever waits gets it
            self._end(place, began)
            place.future.set_exception(error)
        else:
            self._end(place, began)
            place.future.set_result(result)

    def _next(self) -> Place | None:
        """Take the first of the network whose turn it is; its next one is behind the others'."""
        if not self._ready:
            return None
        network, places = self._ready.popitem(last=False)
        place = places[0]
        self._ready[network] = places
        self._leave(place)
        return place

    def _end(self, place: Place, began: float) -> None:
        took = time.perf_counter() - began
        with self._lock:
            self.running -= 1
            if place.is_usual:
                self._mean += (took - self._mean) / 8

    def _leave(self, place: Place) -> None:
        taken, ready = self._taken.get(place.network, {}), self._ready.get(place.network, deque())
        if place not in taken:
            return
        del taken[place]
        self.waiting -= 1
        with contextlib.suppress(ValueError):
            ready.remove(place)
        if not taken:
            del self._taken[place.network]
        if not ready:
            self._ready.pop(place.network, None)


def _yield_to_others() -> None:
    """Let the event loop have a core before this thread has; Linux alone knows of a thread's."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
