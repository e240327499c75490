"""The queue before the hashing threads: clients take turns, and nobody fills it for the others."""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest

from denizen.errors import OverloadedError
from denizen.passwords.queue import FairQueue

SEVERAL = 0.1  # seconds of queue: by the first guess of a job's time, a fourth one is too many


T = TypeVar("T")


async def run(queue: FairQueue, network: str, work: Callable[[], T]) -> T:
    """Take a place and have the work done."""
    with queue.place(network) as place:
        return await place.run(work)


class Line:
    """A queue of one thread that stands still until it is let go, and the jobs in it."""

    def __init__(self) -> None:
        self.queue = FairQueue(1, SEVERAL)
        self.done: list[str] = []
        self._gate = threading.Event()
        self._first = asyncio.ensure_future(run(self.queue, "first", self._gate.wait))

    def add(self, name: str) -> "asyncio.Task[None]":
        """Queue a job; its network is the first letter of its name."""
        return asyncio.ensure_future(run(self.queue, name[0], self._job(name)))

    async def let_go(self) -> None:
        """Have the jobs done."""
        self._gate.set()
        await self._first

    async def standing(self) -> None:
        """Wait until the thread has its first job, which lasts."""
        while not self.queue.running:  # noqa: ASYNC110  # the queue has no event
            await asyncio.sleep(0.001)

    def _job(self, name: str) -> Callable[[], None]:
        return lambda: self.done.append(name)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    """Give a queue whose only thread is busy."""
    found = Line()
    await found.standing()
    yield found
    await found.let_go()
    found.queue.close()


async def test_networks_take_turns(line: Line) -> None:
    """Three of one client do not stand before the only one of another."""
    jobs = [line.add(name) for name in ("a1", "a2", "b1")]
    await asyncio.sleep(0)

    await line.let_go()
    await asyncio.gather(*jobs)

    assert line.done == ["a1", "b1", "a2"]


async def test_who_has_most_in_a_full_queue_gives_way(line: Line) -> None:
    """The last job of the client with four is refused, and the newcomer's is done."""
    crowd = [line.add(f"a{number}") for number in range(4)]
    await asyncio.sleep(0)

    newcomer = line.add("b1")
    await asyncio.sleep(0)
    await line.let_go()
    found = await asyncio.gather(*crowd, newcomer, return_exceptions=True)

    assert [type(one) for one in found] == [type(None)] * 3 + [OverloadedError, type(None)]
    assert line.done == ["a0", "b1", "a1", "a2"]
    assert (line.queue.waiting, line.queue.refused) == (0, 1)


async def test_full_queue_refuses_who_has_as_many_as_the_others(line: Line) -> None:
    """Nobody is thrown out for one who would then have the most; the crowd's next is refused."""
    jobs = [line.add(name) for name in ("a1", "a2", "b1", "b2")]
    await asyncio.sleep(0)

    for network in ("a", "b"):
        with pytest.raises(OverloadedError):
            await run(line.queue, network, bool)

    await line.let_go()
    await asyncio.gather(*jobs)
    assert line.queue.refused == 2


async def test_place_is_taken_before_the_work_is_known(line: Line) -> None:
    """Of a crowd that comes at once, those who find no room are refused before they do anything."""
    with contextlib.ExitStack() as places:
        for _ in range(4):
            places.enter_context(line.queue.place("a"))
        with pytest.raises(OverloadedError):
            places.enter_context(line.queue.place("a"))
        assert line.queue.waiting == 4

    assert line.queue.waiting == 0


async def test_place_that_was_given_up_before_its_work_came_is_refused_then(line: Line) -> None:
    """The newest place of the client with most is given to a newcomer, whose work is done."""
    with contextlib.ExitStack() as places:
        crowd = [places.enter_context(line.queue.place("a")) for _ in range(4)]
        newcomer = line.add("b1")
        await asyncio.sleep(0)

        with pytest.raises(OverloadedError):
            crowd[-1].require()
        with pytest.raises(OverloadedError):
            await crowd[-1].run(bool)
        crowd[0].require()
        kept = asyncio.ensure_future(crowd[0].run(lambda: line.done.append("a1")))
        await asyncio.sleep(0)
        await line.let_go()
        await asyncio.gather(newcomer, kept)

    assert line.done == ["b1", "a1"]
    assert (line.queue.waiting, line.queue.refused) == (0, 1)


async def test_wait_is_that_of_the_others_and_ones_own_job(line: Line) -> None:
    """Alone, it is a job's own time; behind another place, twice that with one thread."""
    await line.let_go()
    alone = line.queue.wait

    with line.queue.place("a"):
        assert line.queue.wait == alone
        with line.queue.place("b"):
            assert line.queue.wait == pytest.approx(2 * alone)


async def test_heavy_job_closes_the_queue_to_nobody(line: Line) -> None:
    """The mean, which bounds the queue, is of those that are like the others."""
    await line.let_go()
    before = line.queue.wait
    with line.queue.place("a") as place:
        await place.run(lambda: time.sleep(0.3), is_usual=False)
    assert line.queue.wait == before

    await run(line.queue, "a", lambda: time.sleep(0.3))
    assert line.queue.wait > before


async def test_cancelled_job_makes_room_and_is_not_done(line: Line) -> None:
    """Whoever stops waiting leaves the queue; the others' turns come as before."""
    jobs = [line.add(name) for name in ("a1", "a2", "b1", "b2")]
    await asyncio.sleep(0)

    jobs[0].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await jobs[0]
    with line.queue.place("b"):
        pass

    await line.let_go()
    await asyncio.gather(*jobs[1:])
    assert line.done == ["a2", "b1", "b2"]
    assert line.queue.waiting == 0


async def test_closed_queue_drops_its_jobs_and_works_again(line: Line) -> None:
    """Nobody waits for ever, and what comes later is done."""
    job = line.add("a1")
    await asyncio.sleep(0)

    line.queue.close()
    await line.let_go()

    with pytest.raises(OverloadedError):
        await job
    assert await run(line.queue, "a", lambda: 7) == 7
    assert line.queue.waiting == 0


async def test_error_of_a_job_is_its_callers(line: Line) -> None:
    """It goes up where the result would, and the thread goes on."""
    await line.let_go()

    with pytest.raises(ZeroDivisionError):
        await run(line.queue, "a", lambda: 1 // 0)
    assert await run(line.queue, "a", lambda: 7) == 7
    assert line.queue.running == 0


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
async def test_work_yields_to_the_event_loop(line: Line) -> None:
    """Its threads are nicer than the rest of the process."""
    await line.let_go()

    theirs = await run(line.queue, "a", lambda: os.getpriority(os.PRIO_PROCESS, 0))

    assert theirs > os.getpriority(os.PRIO_PROCESS, 0)
