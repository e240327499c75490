"""F25: PgBouncer in transaction mode, as Debian has it: killed, too small, cut off."""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from denizen.db.embedded import EmbeddedServer
from denizen.db.testing import superuser
from faults.load import PATIENCE, Load
from faults.nemeses import postmaster, until_new
from faults.report import IN_FULL, full
from faults.stage import Running, embedded, fill, served, sign_in
from pooling import PROGRAM, Pooler, pooled, through

HEALS: Final = 10  # seconds; with PgBouncer's own `server_login_retry` it is 15 and more
SIZE: Final = 2
TOLD: Final = ("query_wait_timeout = 5", "server_login_retry = 1")  # as operators are told

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer on this machine")


@dataclass(frozen=True, slots=True)
class Pooled(Running):
    """A service behind a pooler that holds two connections."""

    server: EmbeddedServer
    pooler: Pooler


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Pooled]:
    """Run PostgreSQL, PgBouncer in front of it, and the service."""
    server = embedded(tmp_path / "database")
    server.start()
    try:
        asyncio.run(fill(server, tmp_path))
        with pooled(Pooler.before(server.app_url, size=SIZE, more=TOLD)) as pooler:
            url = through(pooler.folder, server.app_url)
            with served(tmp_path, url, DENIZEN_DATABASE_POOLER="transaction") as (service, port):
                yield Pooled(server, service, port, sign_in(service), tmp_path, pooler)
    finally:
        server.stop()


async def test_f25_pooler_that_is_killed_is_found_again(behind: Pooled) -> None:
    """SIGKILL, and SIGTERM, which this version takes as "at once": every connection breaks."""
    times = full(10, 2)
    async with behind.loaded() as load:
        await load.until(20)
        load.recorder.mark("fault")
        for number in range(times):
            await asyncio.to_thread(
                behind.pooler.end, signal.SIGTERM if number % 2 else signal.SIGKILL
            )
            await asyncio.sleep(0.5)
            await asyncio.to_thread(behind.pooler.start)
            await load.until(10)
        load.recorder.mark("healed")
        await load.until(20)

    measured = await behind.measure(
        load, "F25", f"PgBouncer ended {times} times", "nothing told is lost; goes on by itself"
    )
    assert measured.gap < HEALS
    _hold(load)


@IN_FULL
async def test_f25_postgres_that_is_killed_behind_a_pooler_is_found_again(behind: Pooled) -> None:
    """PgBouncer tries again when its `server_login_retry` says so."""
    times = 5
    async with behind.loaded() as load:
        await load.until(20)
        load.recorder.mark("fault")
        for _ in range(times):
            old = postmaster(behind.server)
            os.kill(old, signal.SIGKILL)
            await until_new(behind.server, old)
            await load.until(10)
        load.recorder.mark("healed")
        await load.until(20)

    measured = await behind.measure(
        load,
        "F25",
        f"PostgreSQL killed {times} times behind PgBouncer",
        "nothing told is lost; goes on by itself",
    )
    assert measured.gap < HEALS
    _hold(load)


@IN_FULL
async def test_f25_waiting_for_a_connection_of_the_pooler_ends_in_time(behind: Pooled) -> None:
    """Both connections wait for a lock: whoever waits for one hears of it, not after 120 s."""
    seconds = 20
    async with behind.loaded(clients=12) as load:
        await load.until(20)
        load.recorder.mark("fault")
        async with superuser(behind.server.superuser_url) as operator, operator.transaction():
            await operator.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(seconds)
        load.recorder.mark("healed")
        await load.until(20)

    measured = await behind.measure(
        load,
        "F25",
        f"both connections of PgBouncer wait for a lock, {seconds} s",
        "503 with Retry-After, soon; fair afterwards",
    )
    assert measured.gap < seconds + HEALS
    _hold(load)


def _hold(load: Load) -> None:
    """Every try was answered in time, and no statement was missed by anybody."""
    tries = load.recorder.tries()
    assert max(one.ended - one.began for one in tries) < PATIENCE
    assert {one.told.partition(" ")[0] for one in tries if one.outcome != "ok"} <= {"503"}
