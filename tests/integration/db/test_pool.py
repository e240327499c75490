"""The pool: whoever has waited longest is next, and a read of its own kind needs no greenlet."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import event, literal, select, text

from denizen.db import Db, DBSessionManager
from denizen.db import pool as pools
from denizen.db.direct import CompiledStatement
from denizen.db.engine import DatabaseSettings
from denizen.db.errors import UnavailableError
from denizen.db.testing import Databases


@pytest.fixture
async def db(databases: Databases) -> AsyncIterator[DBSessionManager]:
    """Give a manager with one connection."""
    settings = DatabaseSettings(
        url=databases.owner_url, pool_size=1, pool_timeout=timedelta(seconds=30)
    )
    found = DBSessionManager(settings)
    found.init()
    yield found
    await found.close_connections()


async def _touch(db: Db) -> None:
    await db.execute(text("SELECT 1"))


async def test_nobody_is_overtaken(db: DBSessionManager) -> None:
    """Of two who ask again as soon as they are answered, each gets its turn."""
    statement = CompiledStatement(select(literal(1).label("one")), db.engine.dialect)
    turns: list[int] = []

    async def ask(number: int) -> None:
        while len(turns) < 60:
            await db.fetch_row(statement)
            turns.append(number)

    await asyncio.gather(*(ask(number) for number in range(3)))

    assert min(turns.count(number) for number in range(3)) >= 15


async def test_connection_for_one_who_has_left_goes_to_the_next(db: DBSessionManager) -> None:
    """A waiter that is cancelled in the moment its connection comes passes it on."""
    pool = db.engine.sync_engine.pool
    borrowed = await pools.borrow(pool)
    leaving = asyncio.create_task(db.run(_touch))
    staying = asyncio.create_task(db.run(_touch))
    await asyncio.sleep(0.05)
    await pools.give_back(pool, borrowed)
    leaving.cancel()
    await asyncio.wait({leaving, staying})

    assert leaving.cancelled()
    assert staying.exception() is None
    assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_waiting_ends(databases: Databases) -> None:
    """Past its deadline a caller is told, and the pool works on."""
    settings = DatabaseSettings(
        url=databases.owner_url, pool_size=1, pool_timeout=timedelta(seconds=0.1)
    )
    manager = DBSessionManager(settings)
    manager.init()
    async with manager.get_session() as session:
        await _touch(session)
        with pytest.raises(UnavailableError):
            await manager.run(_touch)
    await manager.run(_touch)
    await manager.close_connections()


async def test_read_of_a_compiled_statement_takes_a_connection_at_rest(
    db: DBSessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No greenlet is made for it, which would cost as much as the read."""
    statement = CompiledStatement(select(literal(1).label("one")), db.engine.dialect)
    await db.fetch_row(statement)
    monkeypatch.setattr(pools, "greenlet_spawn", None)

    row = await db.fetch_row(statement)

    assert row is not None
    assert row["one"] == 1
    assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_read_does_not_notice_that_its_connection_was_closed(
    db: DBSessionManager, databases: Databases
) -> None:
    """The connection at rest is dead: another one is opened."""
    statement = CompiledStatement(select(literal(1).label("one")), db.engine.dialect)
    await db.fetch_row(statement)
    other = DBSessionManager(databases.owner_url)
    other.init()
    await other.run(
        lambda session: session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            )
        )
    )
    await other.close_connections()
    await asyncio.sleep(0.05)

    assert await db.fetch_row(statement) is not None
    assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_unit_that_has_begun_may_end_while_the_pool_is_closed(databases: Databases) -> None:
    """Closing waits for it, and nothing stays open behind it."""
    manager = DBSessionManager(databases.owner_url)
    manager.init()
    begun = asyncio.Event()

    async def unit(session: Db) -> int:
        await session.execute(text("SELECT 1"))
        begun.set()
        await asyncio.sleep(0.2)
        return int(await session.scalar(text("SELECT 7")))

    running = asyncio.create_task(manager.run(unit))
    await begun.wait()
    returned: list[object] = []
    event.listen(manager.engine.sync_engine.pool, "checkin", lambda *told: returned.append(told))
    await manager.close_connections()

    assert len(returned) == 1
    assert await running == 7


async def test_connection_that_comes_back_too_late_is_closed(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps one longer than closing waits does not leave it open."""
    monkeypatch.setattr("denizen.db.manager._PATIENCE", 0.05)
    manager = DBSessionManager(databases.owner_url)
    manager.init()
    pool = manager.engine.sync_engine.pool
    borrowed = await pools.borrow(pool)
    driver = borrowed.driver_connection
    await manager.close_connections()
    assert not driver.is_closed()
    await pools.give_back(pool, borrowed)

    assert driver.is_closed()


async def test_pool_talks_in_the_name_of_sqlalchemy(
    databases: Databases, caplog: pytest.LogCaptureFixture
) -> None:
    """What it says of being disposed is no line of the service's log."""
    caplog.set_level("INFO", "denizen")
    manager = DBSessionManager(databases.owner_url)
    manager.init()
    await manager.run(_touch)
    await manager.close_connections()

    assert [record for record in caplog.records if record.name.startswith("denizen")] == []
