"""F17, F18, F20, F21: three PostgreSQL servers under Patroni, and one service never restarted.

In full runs alone, where Patroni, etcd and HAProxy are on the machine.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.cluster import IS_HERE, LOOP, TTL, Cluster, clustered
from faults.report import IS_FULL
from faults.stage import Running, fill, served, sign_in

FAIL_OVER = TTL + LOOP + 5  # seconds
SWITCH_OVER = 10  # seconds
PATIENCE = 60.0  # seconds: longer than any fail-over

Both = tuple[Cluster, Running]

pytestmark = [
    pytest.mark.skipif(not IS_FULL, reason="takes long; `make faults` runs it"),
    pytest.mark.skipif(not IS_HERE, reason="Patroni, etcd or HAProxy is not on this machine"),
]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Run the three servers, with the tables made."""
    with clustered() as found:
        asyncio.run(fill(found, tmp_path))
        yield found


@contextlib.contextmanager
def _running(cluster: Cluster, folder: Path, url: str) -> Iterator[Running]:
    with served(folder, url) as (service, metrics):
        yield Running(cluster, service, metrics, sign_in(service), folder)


@pytest.fixture
def both(cluster: Cluster, tmp_path: Path) -> Iterator[Both]:
    """Run a service that knows all three."""
    with _running(cluster, tmp_path, cluster.every_url) as running:
        yield cluster, running


async def _kill_leader(cluster: Cluster, running: Running, fault: str) -> None:
    async with running.loaded(give_up=PATIENCE) as load:
        await load.until(20)
        old = await asyncio.to_thread(cluster.leader)
        load.recorder.mark("fault")
        cluster.kill(old)
        await load.until(20, patience=PATIENCE)
        load.recorder.mark("healed")
        await load.until(20)

    measured = await running.measure(
        load, "F17", fault, f"nothing told is lost; gap ≤ {FAIL_OVER} s"
    )
    assert await asyncio.to_thread(cluster.leader) != old
    assert measured.gap <= FAIL_OVER


async def test_f17_leader_that_is_killed_is_followed_by_the_synchronous_standby(both: Both) -> None:
    """Patroni and PostgreSQL of the leader go at once: the service finds who leads now."""
    await _kill_leader(*both, "Patroni's leader killed, all hosts in the URL")


async def test_f17_leader_behind_haproxy_is_followed_just_so(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The service knows one host, which leads to whoever answers `/primary`."""
    with cluster.proxied() as url, _running(cluster, tmp_path, url) as running:
        await _kill_leader(cluster, running, "Patroni's leader killed, behind HAProxy")


async def test_f18_planned_switch_over_loses_nothing(both: Both) -> None:
    """The leader hands over, twice."""
    cluster, running = both
    async with running.loaded(give_up=PATIENCE) as load:
        await load.until(20)
        load.recorder.mark("fault")
        for _ in range(2):
            await asyncio.to_thread(cluster.switch_over)
            await load.until(20, patience=PATIENCE)
            await asyncio.to_thread(cluster.until_whole)
        load.recorder.mark("healed")
        await load.until(20)

    measured = await running.measure(
        load, "F18", "planned switch-over, 2 times", f"nothing told is lost; gap ≤ {SWITCH_OVER} s"
    )
    assert measured.gap <= SWITCH_OVER


async def test_f20_leader_stays_one_while_nobody_can_vote(both: Both) -> None:
    """All of etcd is gone; in `failsafe_mode` Patroni asks the other nodes in its place."""
    cluster, running = both
    async with running.loaded() as load:
        await load.until(20)
        old = await asyncio.to_thread(cluster.leader)
        load.recorder.mark("fault")
        await asyncio.to_thread(cluster.stop_etcd)
        await asyncio.sleep(TTL)
        await load.until(20)
        cluster.start_etcd()
        load.recorder.mark("healed")
        await load.until(20)

    measured = await running.measure(
        load, "F20", f"etcd stopped for {TTL} s", "writes go on; gap ≤ 5 s"
    )
    assert await asyncio.to_thread(cluster.leader) == old
    assert measured.gap <= 5


async def test_f21_synchronous_standby_that_is_killed_is_replaced(both: Both) -> None:
    """What waits for it is held up until Patroni names another."""
    cluster, running = both
    async with running.loaded(give_up=PATIENCE) as load:
        await load.until(20)
        old = await asyncio.to_thread(cluster.synchronous)
        load.recorder.mark("fault")
        cluster.kill(old)
        await load.until(20, patience=PATIENCE)
        load.recorder.mark("healed")
        await load.until(20)

    measured = await running.measure(
        load, "F21", "synchronous standby killed", f"nothing told is lost; gap ≤ {TTL} s"
    )
    assert measured.gap <= TTL
