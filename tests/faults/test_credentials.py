"""Sessions that are ended and links that are used under faults, on two workers.

What was told to be over lets nobody in any more, and what works once works once.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager as Context
from pathlib import Path
from typing import Final

import pytest

from denizen.db.testing import superuser
from faults import checkers
from faults.credentials import Credentials, effects, some_links
from faults.nemeses import children, every, over_and_over, postmaster, until_new
from faults.owned import Own
from faults.recorder import Recorder, Try
from faults.report import IN_FULL, Measured, control, full, publish
from faults.stage import Stage
from processes import Service

SESSIONS: Final = full(60, 8)
LINKS: Final = full(40, 6)
ONE: Final = "FROM pg_stat_activity WHERE usename = 'denizen' ORDER BY random() LIMIT 1"
# whatever is deleted is there again: the worst that a cache, or a lost delete, could do
AGAIN: Final = """
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
EXECUTE format('INSERT INTO %I SELECT ($1).*', TG_TABLE_NAME) USING OLD; RETURN NULL; END $$;
CREATE TRIGGER again AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION again();
CREATE TRIGGER again AFTER DELETE ON tokens FOR EACH ROW EXECUTE FUNCTION again()
"""
Nemesis = Callable[[Stage, Service], Context[None]]


def _backends_ended(stage: Stage, _service: Service) -> Context[None]:
    return every(0.1, stage.server, f"SELECT pg_terminate_backend(pid) {ONE}")


def _postgres_killed(stage: Stage, _service: Service) -> Context[None]:
    async def kill() -> None:
        old = postmaster(stage.server)
        os.kill(old, signal.SIGKILL)
        await until_new(stage.server, old)

    return _now_and_then(kill, 1)


def _workers_killed(_stage: Stage, service: Service) -> Context[None]:
    async def kill() -> None:
        for pid in children(service.process.pid)[:1]:
            os.kill(pid, signal.SIGKILL)

    return _now_and_then(kill, 5)  # a new one is not there at once


def _nothing(_stage: Stage, _service: Service) -> Context[None]:
    return contextlib.nullcontext()


def _now_and_then(kill: Callable[[], Awaitable[None]], seconds: float) -> Context[None]:
    async def act() -> None:
        await asyncio.sleep(random.uniform(0.5, 1.5) * seconds)
        await kill()

    return over_and_over(act)


@pytest.fixture
async def own(stage: Stage, tmp_path: Path) -> AsyncIterator[Own]:
    """Give a service with two workers; it has not begun."""
    found = Own(stage, tmp_path, workers=2)
    yield found
    await found.end()


async def _run(stage: Stage, own: Own, nemesis: Nemesis) -> tuple[list[Try], set[str]]:
    """Use and end sessions, and use links; give the history, and whose links worked not once."""
    service = await own.start()
    links = await some_links(stage, LINKS)
    with Recorder(stage.folder / f"{time.monotonic_ns()}.jsonl") as recorder:
        async with nemesis(stage, service):
            tries = await Credentials(own.url, recorder).run(SESSIONS, links)
    await own.end()
    happened = await effects(stage, links)
    return tries, checkers.audited_otherwise([str(link.user.id) for link in links], happened)


def _told(tries: list[Try], kind: str) -> int:
    return len({one.value for one in tries if one.kind == kind and one.outcome == "ok"})


def _measured(row: str, fault: str, acts: int, wrong: set[str]) -> Measured:
    expected = {"sessions": "what was ended lets nobody in", "links": "each works once"}[row]
    return Measured(row=row, fault=fault, expected=expected, acts=acts, doubled=len(wrong))


@pytest.mark.parametrize(
    ("nemesis", "fault"),
    [
        (_backends_ended, "a backend ended every 100 ms"),
        pytest.param(_postgres_killed, "PostgreSQL killed every second", marks=IN_FULL),
        pytest.param(_workers_killed, "a worker killed every 5 s", marks=IN_FULL),
    ],
)
async def test_what_was_ended_lets_nobody_in_and_each_link_works_once(
    stage: Stage, own: Own, nemesis: Nemesis, fault: str
) -> None:
    """Asked until they are told, by several at once who come to either worker."""
    tries, not_once = await _run(stage, own, nemesis)

    alive, again = checkers.alive_after_revocation(tries), checkers.used_again(tries)
    revoked, used = _told(tries, "revoke"), _told(tries, "consume")
    publish(_measured("sessions", f"{SESSIONS} ended, {fault}", revoked, alive))
    publish(_measured("links", f"{LINKS} used by 3 at once, {fault}", used, again | not_once))
    assert (alive, again, not_once) == (set(), set(), set())
    assert revoked >= SESSIONS / 2
    assert used >= LINKS / 2
    assert await stage.leaks() == 0


async def test_session_or_link_that_is_there_again_is_found(stage: Stage, own: Own) -> None:
    """A database that brings back what is deleted: sessions live on, and links work again."""
    async with superuser(stage.server.superuser_url) as operator:
        await operator.execute(AGAIN)
        try:
            tries, not_once = await _run(stage, own, _nothing)
        finally:
            await operator.execute("DROP FUNCTION again() CASCADE")

    alive, again = checkers.alive_after_revocation(tries), checkers.used_again(tries)
    assert alive
    assert again & not_once
    fault = "what is deleted comes back"
    told = _measured("sessions", fault, _told(tries, "revoke"), alive)
    control(told, f"{len(alive)} alive after their end")
    told = _measured("links", fault, _told(tries, "consume"), again)
    control(told, f"{len(again)} used again")
