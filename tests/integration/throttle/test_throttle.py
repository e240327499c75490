"""Limits: what a bucket lets through, on real connections, however many try at once."""

import asyncio
import contextlib
import os
import random
import secrets
import signal
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from denizen.app import Denizen
from denizen.db.embedded import EmbeddedServer
from denizen.db.engine import DatabaseSettings
from denizen.db.errors import UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.db.model import table_of
from denizen.db.testing import Databases, superuser
from denizen.errors import ThrottledError
from denizen.migrations import migrate
from denizen.network import network_of
from denizen.throttle import model
from denizen.throttle.model import Limit, throttles_table
from denizen.throttle.queries import clear, purge, spend
from denizen.users.model import UserModel
from support import StatementCounter

TABLE = throttles_table(table_of(UserModel))
ZERO = timedelta(0)
HOUR = timedelta(hours=1)
TEN = Limit("ten", 10, HOUR)
ONE = Limit("one", 1, HOUR)


async def _try(
    db: DBSessionManager, *charges: tuple[Limit, str], skew: timedelta = ZERO
) -> ThrottledError | None:
    """Try once, in a unit of its own; give the refusal."""
    try:
        await db.run(lambda unit: spend(unit, TABLE, charges, skew))
    except ThrottledError as error:
        return error
    return None


async def _passes(
    db: DBSessionManager, limit: Limit, value: str, tries: int, skew: timedelta = ZERO
) -> int:
    """Count the tries that pass."""
    return [await _try(db, (limit, value), skew=skew) for _ in range(tries)].count(None)


def _wide(databases: Databases) -> DBSessionManager:
    """Give a manager that waits longer than a machine under load is slow."""
    patience = timedelta(seconds=30)
    return DBSessionManager(
        DatabaseSettings(
            url=databases.app_url,
            pool_timeout=patience,
            lock_timeout=patience,
            statement_timeout=patience,
            connect_timeout=patience,
        )
    )


@pytest.fixture
async def two(databases: Databases) -> AsyncIterator[tuple[DBSessionManager, DBSessionManager]]:
    """Give the managers of two workers."""
    found = _wide(databases), _wide(databases)
    for manager in found:
        manager.init()
    yield found
    for manager in found:
        await manager.close_connections()


async def test_full_bucket_gives_its_burst_and_then_tells_when(manager: DBSessionManager) -> None:
    """Ten pass, the eleventh is told the limit and the seconds until a token is back."""
    assert await _passes(manager, TEN, "a", 10) == 10

    refused = await _try(manager, (TEN, "a"))

    assert refused is not None
    assert (refused.limit, refused.code) == ("ten", "throttled")
    assert 3500 < refused.retry_after <= 3600
    assert await _try(manager, (TEN, "b")) is None
    assert await _try(manager, (Limit("other", 10, HOUR), "a")) is None


async def test_tokens_come_back_one_by_one_up_to_the_burst(manager: DBSessionManager) -> None:
    """Just before an hour none, after it one, after a year ten: never more than the bucket."""
    assert await _passes(manager, TEN, "a", 10) == 10

    early = await _try(manager, (TEN, "a"), skew=HOUR - timedelta(minutes=1))
    assert early is not None
    assert 1 <= early.retry_after <= 60
    assert await _passes(manager, TEN, "a", 3, HOUR) == 1
    assert await _passes(manager, TEN, "a", 5, HOUR * 2.5) == 1
    assert await _passes(manager, TEN, "a", 5, HOUR * 3) == 1
    assert await _passes(manager, TEN, "a", 30, timedelta(days=365)) == 10


async def test_retry_after_is_when_it_passes(manager: DBSessionManager) -> None:
    """Whole seconds, rounded up: who comes back as told passes."""
    limit = Limit("odd", 1, timedelta(seconds=90.9))
    assert await _try(manager, (limit, "a")) is None
    refused = await _try(manager, (limit, "a"))

    assert refused is not None
    assert 60 < refused.retry_after <= 91
    later = timedelta(seconds=refused.retry_after)
    assert await _try(manager, (limit, "a"), skew=later) is None


async def test_clock_that_goes_back_gives_nothing(manager: DBSessionManager) -> None:
    """A day back and forth again: the bucket stays as empty as it was."""
    day = timedelta(days=1)
    assert await _passes(manager, TEN, "a", 10, day) == 10

    assert await _passes(manager, TEN, "a", 3, ZERO) == 0
    assert await _passes(manager, TEN, "a", 3, day) == 0
    assert await _passes(manager, TEN, "a", 3, day + HOUR) == 1


async def test_bucket_of_one_opens_again_after_its_refill(manager: DBSessionManager) -> None:
    """The smallest bucket there is."""
    assert await _passes(manager, ONE, "a", 3) == 1
    assert await _passes(manager, ONE, "a", 3, HOUR) == 1


async def test_one_empty_bucket_leaves_the_others_full(manager: DBSessionManager) -> None:
    """All or nothing: what the refused tries would have taken elsewhere is not taken."""
    assert await _try(manager, (ONE, "empty")) is None

    for _ in range(20):
        refused = await _try(manager, (TEN, "a"), (ONE, "empty"), (TEN, "b"))
        assert refused is not None
        assert refused.limit == "one"

    assert await _passes(manager, TEN, "a", 11) == 10
    assert await _passes(manager, TEN, "b", 11) == 10


async def test_first_refusal_in_the_callers_order_is_told(manager: DBSessionManager) -> None:
    """Of two empty buckets the caller decides which one it hears of."""
    other = Limit("other", 1, HOUR)
    assert await _try(manager, (ONE, "a"), (other, "a")) is None

    for charges in ([(ONE, "a"), (other, "a")], [(other, "a"), (ONE, "a")]):
        refused = await _try(manager, *charges)
        assert refused is not None
        assert refused.limit == charges[0][0].name


async def test_joined_unit_takes_nothing_when_its_host_rolls_back(
    manager: DBSessionManager,
) -> None:
    """In somebody else's transaction a token is theirs to give back; a refusal spoils nothing."""
    with pytest.raises(RuntimeError):
        async with manager.get_session() as host:
            await manager.run(lambda db: spend(db, TABLE, [(ONE, "a")], ZERO), join=host)
            raise RuntimeError
    async with manager.get_session() as host:
        await manager.run(lambda db: spend(db, TABLE, [(ONE, "a")], ZERO), join=host)
        with pytest.raises(ThrottledError):
            await manager.run(lambda db: spend(db, TABLE, [(ONE, "a")], ZERO), join=host)

    assert await _try(manager, (ONE, "a"), skew=HOUR) is None
    assert await _try(manager, (ONE, "a"), skew=HOUR) is not None


async def test_t_thr_8_200_at_once_from_two_workers_pass_ten(
    two: tuple[DBSessionManager, DBSessionManager],
) -> None:
    """Five rounds, T-THR-6 as well: two workers share one bucket, and exactly ten pass."""
    for number in range(5):
        tries = [_try(two[i % 2], (TEN, f"raced {number}")) for i in range(200)]
        assert (await asyncio.gather(*tries)).count(None) == 10


async def test_t_thr_6_as_many_at_once_as_there_are_tokens_all_pass(
    two: tuple[DBSessionManager, DBSessionManager],
) -> None:
    """Nobody is refused for having waited for the others: twenty rounds of ten at once."""
    for number in range(20):
        tries = [_try(two[i % 2], (TEN, f"raced {number}")) for i in range(10)]
        assert await asyncio.gather(*tries) == [None] * 10


async def test_mixed_orders_never_wait_in_a_circle(
    two: tuple[DBSessionManager, DBSessionManager],
) -> None:
    """Eight tasks with the same buckets in orders of their own, beside a purge: no deadlock."""
    many = Limit("many", 10_000, HOUR)
    values = [f"bucket {n}" for n in range(8)]
    is_over = asyncio.Event()

    async def spender(number: int) -> None:
        order = random.Random(number)
        for _ in range(40):
            charges = [(many, value) for value in order.sample(values, 6)]
            async with two[number % 2].get_session() as db:  # `run` would hide a deadlock
                await spend(db, TABLE, charges, ZERO)

    async def purger() -> None:
        while not is_over.is_set():
            await two[0].run(lambda db: purge(db, TABLE, timedelta(days=3650)))
            await asyncio.sleep(0.002)

    purging = asyncio.create_task(purger())
    try:
        await asyncio.gather(*(spender(number) for number in range(8)))
    finally:
        is_over.set()
        await purging


async def test_t_thr_7_limits_survive_a_crash_of_the_database(tmp_path: Path) -> None:
    """PostgreSQL ends without a shutdown and recovers: what was spent is spent."""
    chosen = os.environ.get("DENIZEN_TEST_POSTGRES_BIN")
    folder = tmp_path / "data"
    server = EmbeddedServer.for_service(folder, bin_dir=Path(chosen) if chosen else None)
    await asyncio.to_thread(server.start)
    manager = DBSessionManager(server.app_url)
    owner = DBSessionManager(server.owner_url)
    try:
        owner.init()
        await migrate(owner, serving_role="denizen")
        manager.init()
        assert await _passes(manager, TEN, "a", 10) == 10

        pid = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        await asyncio.to_thread(_wait_until_gone, pid)
        refused = await _when_it_answers(manager)

        assert refused is not None
        assert refused.limit == "ten"
    finally:
        await owner.close_connections()
        await manager.close_connections()
        await asyncio.to_thread(server.stop)


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.01)
        raise AssertionError("the database did not end")


async def _when_it_answers(manager: DBSessionManager) -> ThrottledError | None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(UnavailableError):
            return await _try(manager, (TEN, "a"))
        await asyncio.sleep(0.05)
    raise AssertionError("the database did not come back")


async def test_clear_fills_one_bucket_alone(manager: DBSessionManager) -> None:
    """A good sign-in clears its account, and nobody's network."""
    for limit in (ONE, TEN):
        assert await _passes(manager, limit, "a", limit.burst) == limit.burst
    await manager.run(lambda db: clear(db, TABLE, [(ONE, "a")]))
    await manager.run(lambda db: clear(db, TABLE, [(ONE, "nobody's")]))

    assert await _passes(manager, ONE, "a", 3) == 1
    assert await _passes(manager, TEN, "a", 3) == 0


async def test_purge_removes_what_says_nothing_any_more(
    manager: DBSessionManager, databases: Databases
) -> None:
    """Full buckets go, others stay as they were; a row in use is passed over without waiting."""
    assert await _passes(manager, TEN, "kept", 10) == 10
    assert await _passes(manager, ONE, "gone", 1) == 1
    assert await _passes(manager, ONE, "used", 1) == 1
    later = HOUR + timedelta(minutes=1)

    async with manager.get_session() as unit:
        await spend(unit, TABLE, [(ONE, "used")], later)
        began = time.monotonic()
        assert await manager.run(lambda db: purge(db, TABLE, later)) == 1
        assert time.monotonic() - began < 1.5  # DENIZEN_DATABASE_LOCK_TIMEOUT is 2

    async with superuser(databases.superuser_url) as watcher:
        kept = {bytes(row["key"]) for row in await watcher.fetch("SELECT key FROM throttles")}
    assert kept == {TEN.bucket("kept"), ONE.bucket("used")}
    assert await _passes(manager, TEN, "kept", 3) == 0


async def test_purge_is_bounded(
    manager: DBSessionManager, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many at a time that no statement runs out of time; the count says whether to go on.

    A row that somebody else has locked, as another worker that cleans up, does not count.
    """
    monkeypatch.setattr("denizen.throttle.queries.PURGED_AT_ONCE", 7)
    async with superuser(databases.superuser_url) as other:
        await other.execute(
            "INSERT INTO throttles "
            "SELECT sha256(n::text::bytea), now() FROM generate_series(1, 18) n"
        )
        async with other.transaction():
            await other.fetch("SELECT FROM throttles ORDER BY key LIMIT 1 FOR UPDATE")
            removed = [await manager.run(lambda db: purge(db, TABLE, ZERO)) for _ in range(4)]

    assert removed == [7, 7, 3, 0]
    assert await manager.run(lambda db: purge(db, TABLE, ZERO)) == 1


async def test_table_holds_neither_address_nor_mail(
    manager: DBSessionManager, databases: Databases
) -> None:
    """Whoever reads a backup finds digests."""
    charges = [(model.MAIL_ADDRESS, "canary@example.com"), (model.SIGN_IN_NETWORK, "192.0.2.77")]
    assert await _try(manager, *charges) is None

    async with superuser(databases.superuser_url) as watcher:
        rows: Any = await watcher.fetch("SELECT * FROM throttles")

    assert [len(row["key"]) for row in rows] == [32, 32]
    assert b"canary" not in b"".join(row["key"] for row in rows)
    assert "192.0.2.77" not in str(rows)


async def test_t_thr_4_spellings_and_rotation_share_one_bucket(manager: DBSessionManager) -> None:
    """One /64, one IPv4 address in either family: 100 spellings pass as often as one."""
    six = [f"2001:DB8:0:0{n:x}::{n:04X}" for n in (7,) * 50]
    six += [f"2001:db8::7:{n:x}:0:0:1" for n in range(50)]
    four = ["192.0.2.1", "::ffff:192.0.2.1", "::FFFF:C000:201", "0::ffff:c000:0201"] * 25

    for addresses in (six, four):
        tries = [await _try(manager, (TEN, network_of(address))) for address in addresses]
        assert tries.count(None) == 10


async def test_spend_is_one_statement(
    denizen: Denizen[UserModel], statements: StatementCounter
) -> None:
    """Whatever the number of buckets, and whether they are new: BEGIN, INSERT, COMMIT."""
    for count in (1, 5, 5):
        charges = [(TEN, str(number)) for number in range(count)]
        async with statements.listening() as heard:
            assert await _try(denizen.db, *charges) is None
        assert len(heard) == 3, heard


@pytest.mark.parametrize("month", [3, 10])
async def test_month_is_a_month_where_clocks_change(
    databases: Databases, manager: DBSessionManager, month: int
) -> None:
    """In a host's database with a time zone of its own, 100 are 100 and thirty days thirty."""
    name = databases.app_url.partition("?")[0].rpartition("/")[2]
    await databases.run(f"ALTER DATABASE {name} SET timezone = 'Europe/Berlin'")
    skew = datetime(2031, month, 15, tzinfo=UTC) - datetime.now(UTC)
    limit = Limit("month", 12, timedelta(days=30))

    assert await _passes(manager, limit, "a", 14, skew) == 12

    refused = await _try(manager, (limit, "a"), skew=skew)
    assert refused is not None
    assert timedelta(0) <= limit.refill - timedelta(seconds=refused.retry_after) < HOUR / 2


@settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.integers(1, 6),
    st.integers(5, 90),
    st.lists(st.one_of(st.just(0), st.integers(0, 400)), min_size=1, max_size=25),
)
async def test_never_more_than_burst_and_what_came_back(
    manager: DBSessionManager, burst: int, refill: int, pauses: list[int]
) -> None:
    """Any bucket, any pauses: in no stretch more pass, and whoever has a token is let through."""
    limit = Limit("any", burst, timedelta(seconds=refill))
    value = secrets.token_hex(8)
    began = time.monotonic()
    elapsed, sure = 0, float(burst)  # what must be there when tries themselves take no time
    passed: list[tuple[float, float]] = []

    for pause in pauses:
        elapsed += pause
        sure = min(burst, sure + pause / refill)
        before = elapsed + time.monotonic() - began
        refused = await _try(manager, (limit, value), skew=timedelta(seconds=elapsed))
        if refused is None:
            passed.append((before, elapsed + time.monotonic() - began))
            sure = max(0, sure - 1)
        else:
            assert sure < 1 + 1e-9

    for first in range(len(passed)):
        for last in range(first, len(passed)):
            stretch = passed[last][1] - passed[first][0]
            assert last - first + 1 <= burst + stretch / refill + 1e-9


async def test_t_thr_9_hundred_failures_in_a_row_shut_the_account_until_it_is_cleared(
    manager: DBSessionManager,
) -> None:
    """Waiting buys a guesser one try a month; a good sign-in or a reset opens all."""
    account = (model.SIGN_IN_ACCOUNT, "ann@example.com")
    assert await _passes(manager, *account, 101) == 100
    assert await _passes(manager, *account, 1, timedelta(days=29)) == 0
    assert await _passes(manager, *account, 3, timedelta(days=31)) == 1

    await manager.run(lambda db: clear(db, TABLE, [account]))

    assert await _passes(manager, *account, 101, timedelta(days=31)) == 100
    async with manager.get_session(read_only=True) as db:
        assert await db.scalar(select(func.count()).select_from(TABLE)) == 1
