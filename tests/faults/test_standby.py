"""A standby promoted under writes: what was told is on it, where it is synchronous.

Patroni and its kin do the same; here nobody decides, and the promotion is made by hand.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from denizen.db.embedded import EmbeddedServer
from denizen.db.testing import superuser
from faults.nemeses import frozen
from faults.proxy import Proxy
from faults.report import IN_FULL, control
from faults.stage import Running, fill, look, measured_by, served, sign_in, socket_of
from streaming import Pair, streaming

Both = tuple[Pair, Running]
Misled = tuple[Pair, Proxy, Running]


@contextlib.contextmanager
def _both(folder: Path, *, synchronous: bool) -> Iterator[Both]:
    """Run the two, and a service that knows both; the rows that count are the standby's."""
    with streaming(folder / "pair", synchronous=synchronous) as pair:
        asyncio.run(fill(pair.primary, folder))
        with served(folder, pair.both_url) as (service, metrics):
            yield pair, Running(pair.standby, service, metrics, sign_in(service), folder)


@pytest.fixture
def synchronous(tmp_path: Path) -> Iterator[Both]:
    """Acknowledge what is on both."""
    with _both(tmp_path, synchronous=True) as found:
        yield found


@pytest.fixture
def asynchronous(tmp_path: Path) -> Iterator[Both]:
    """Acknowledge what is on the primary."""
    with _both(tmp_path, synchronous=False) as found:
        yield found


@pytest.fixture
def misled(tmp_path: Path) -> Iterator[Misled]:
    """Run the two, and a service that knows one address, which may lead to either."""
    with streaming(tmp_path / "pair") as pair, Proxy(_place(pair.primary)) as proxy:
        asyncio.run(fill(pair.primary, tmp_path))
        url = f"postgresql://denizen@127.0.0.1:{proxy.port}/denizen?sslmode=disable"
        with served(tmp_path, url) as (service, metrics):
            running = Running(pair.primary, service, metrics, sign_in(service), tmp_path)
            yield pair, proxy, running


def _place(server: EmbeddedServer) -> str:
    return f"{socket_of(server.app_url)}/.s.PGSQL.5432"


async def test_f17_synchronous_standby_that_is_promoted_has_what_was_told(
    synchronous: Both,
) -> None:
    """The primary is killed under writes: the same service goes on with the standby."""
    pair, running = synchronous
    async with running.loaded() as load:
        await load.until(20)
        load.recorder.mark("fault")
        pair.kill_primary()
        await asyncio.to_thread(pair.promote)
        load.recorder.mark("healed")
        await load.until(20)

    measured = await running.measure(
        load, "F17", "primary killed, synchronous standby promoted", "nothing told is lost"
    )
    assert measured.gap < 15


async def test_f22_commit_that_waits_for_a_stopped_standby_is_never_told_to_be_done(
    synchronous: Both,
) -> None:
    """Clients give up while the standby says nothing; after the fail-over nothing told is lost."""
    pair, running = synchronous
    async with running.loaded(patience=1.5) as load:
        await load.until(20)
        load.recorder.mark("fault")
        with frozen(pair.standby):
            await asyncio.sleep(5)  # longer than a statement may take
            pair.kill_primary()
        await asyncio.to_thread(pair.promote)
        load.recorder.mark("healed")
        await load.until(20)

    measured = await running.measure(
        load,
        "F22",
        "clients give up while the standby is stopped, then fail-over",
        "unknown, and told when asked again",
    )
    assert measured.unknown


@IN_FULL
async def test_f16_address_that_leads_to_a_standby_for_a_while_is_nobody(misled: Misled) -> None:
    """It is behind and would let in who was signed out: neither a write nor a read is answered."""
    pair, proxy, running = misled
    gone = {"Authorization": f"Bearer {await asyncio.to_thread(sign_in, running.service)}"}
    async with (
        running.loaded() as load,
        httpx.AsyncClient(base_url=running.url, headers=gone, timeout=30) as client,
    ):
        await load.until(20)
        await pair.catch_up()
        await asyncio.to_thread(pair.pause_replay)
        assert (await client.delete("/v1/me/sessions/current")).status_code == 204
        load.recorder.mark("fault")
        await asyncio.to_thread(proxy.lead, _place(pair.standby))
        told = [(await client.get("/v1/me")).status_code for _ in range(3)]
        await asyncio.to_thread(proxy.lead, _place(pair.primary))
        load.recorder.mark("healed")
        await load.until(20)
        await asyncio.to_thread(pair.resume_replay)

    measured = await running.measure(
        load, "F16", "the address leads to a standby that is behind", "503, and nobody is let in"
    )
    assert told == [503] * 3
    assert measured.gap < 15


async def test_asynchronous_standby_that_is_cut_off_is_found_to_lose(asynchronous: Both) -> None:
    """Nothing reaches it, everything is acknowledged, and it is promoted: what was told is gone."""
    pair, running = asynchronous
    async with running.loaded() as load:
        await load.until(10)
        await pair.catch_up()
        async with superuser(pair.primary.superuser_url) as operator:
            sender = await operator.fetchval("SELECT pid FROM pg_stat_replication")
        os.kill(sender, signal.SIGSTOP)
        await load.until(20)
        pair.kill_primary()
        os.kill(sender, signal.SIGKILL)
        await asyncio.to_thread(pair.promote)
        await load.until(5)

    sets = (await look(running.server, load)).sets
    assert sets.lost
    fault = "asynchronous standby cut off, then promoted"
    told = measured_by(load, sets, row="F17", fault=fault, expected="lost")
    control(told, f"{len(sets.lost)} lost")
