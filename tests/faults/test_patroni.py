"""F17 to F21, F24: three PostgreSQL servers under Patroni, and one service never restarted.

In full runs alone, where Patroni, etcd and HAProxy are on the machine.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from denizen.db.testing import superuser
from faults.cluster import IS_HERE, LOOP, TTL, Cluster, Node, clustered, patroni_version
from faults.recorder import outcomes
from faults.report import IN_FULL
from faults.stage import Running, fill, served, sign_in

FAIL_OVER = TTL + LOOP + 5  # seconds
SWITCH_OVER = 10  # seconds
PATIENCE = 60.0  # seconds: longer than any fail-over
PACE = 0.3  # seconds between two acts of a client: each is a mail, and all are to be sent
FROZEN = 30  # seconds in which two take writes
CONNECTED = "SELECT pid FROM pg_stat_activity WHERE usename = 'denizen' AND state <> 'active'"
ROWS = "SELECT username FROM users WHERE username LIKE $1"

Both = tuple[Cluster, Running]

pytestmark = [
    IN_FULL,
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


async def test_f24_haproxy_that_is_restarted_is_found_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Killed and started anew, or taken over from: at first it believes that everybody leads."""
    times = 5
    with cluster.proxied() as url, _running(cluster, tmp_path, url) as running:
        async with running.loaded(pace=PACE) as load:
            await load.until(20)
            load.recorder.mark("fault")
            for act in (cluster.restart_haproxy, cluster.reload_haproxy):
                for _ in range(times):
                    await asyncio.to_thread(act)
                    await asyncio.sleep(2)
                    await load.until(10)
            load.recorder.mark("healed")
            await load.until(20)

        measured = await running.measure(
            load, "F24", f"HAProxy killed {times} times, reloaded {times}", "gap ≤ 3 s"
        )
    assert measured.gap <= 3


async def _freeze(cluster: Cluster, running: Running, how: str, gap: int) -> None:
    """Stop the leader's Patroni until another leads, and longer: no watchdog ends its PostgreSQL.

    Its standbys left it, so it acknowledges nothing; what waits for that is on it alone.
    """
    if patroni_version() < (3, 0, 3):
        pytest.skip("this Patroni takes the lock of the leader back when it wakes up")
    async with running.loaded(give_up=2 * PATIENCE, pace=PACE) as load:
        await load.until(20)
        old = await asyncio.to_thread(cluster.leader)
        load.recorder.mark("fault")
        with cluster.frozen(old):
            new = await asyncio.to_thread(lambda: cluster.leader(after=old))
            await asyncio.sleep(FROZEN)
            connected = await _asked(old, CONNECTED)
            apart = {row["username"] for row in await _asked(old, ROWS, f"{load.prefix}%")}
            apart -= {row["username"] for row in await _asked(new, ROWS, f"{load.prefix}%")}
            told = {act for act, told in outcomes(load.recorder.tries()).items() if told == "ok"}
        load.recorder.mark("healed")
        await load.until(20, patience=PATIENCE)
        await asyncio.to_thread(cluster.until_demoted, old)

    measured = await running.measure(
        load,
        "F19",
        f"Patroni of the leader stopped, its PostgreSQL at work, {how}",
        f"what was told is on the new leader; gap ≤ {gap} s",
    )
    assert told & apart == set()
    assert connected == []
    assert measured.gap <= gap


async def _asked(node: Node, query: str, *values: str) -> list[Any]:
    async with superuser(f"postgresql://postgres@127.0.0.1:{node.port}/denizen") as watcher:
        found: list[Any] = await watcher.fetch(query, *values)
        return found


async def test_f19_leader_that_was_replaced_and_never_told_is_left(both: Both) -> None:
    """Its first commit without an answer has the service ask the other hosts first."""
    await _freeze(*both, "all hosts in the URL", TTL)


async def test_f19_leader_that_was_replaced_and_never_told_is_left_behind_haproxy(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Its Patroni does not answer, and HAProxy cuts its connections at once."""
    with cluster.proxied() as url, _running(cluster, tmp_path, url) as running:
        await _freeze(cluster, running, "behind HAProxy", FAIL_OVER)
