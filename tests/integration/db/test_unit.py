"""Units of work in adversity: swallowed errors, cancellations, lost servers, stale sessions."""

import asyncio
import gc
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import String, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from denizen.db import Db, DBSessionManager, Model, after_commit
from denizen.db.engine import DatabaseSettings
from denizen.db.errors import (
    OutcomeUnknownError,
    StaleVersionError,
    TakenError,
    UnitOfWorkError,
)
from denizen.db.model import table_of
from denizen.db.testing import Databases, superuser
from support import until_somebody_sleeps


class Memo(Model, kw_only=True, eq=False):
    """A table with a version."""

    __tablename__ = "memos"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default_factory=uuid7)
    title: Mapped[str] = mapped_column(String(40), unique=True)
    version: Mapped[int] = mapped_column(init=False)
    __mapper_args__ = {"version_id_col": version, "eager_defaults": True}  # noqa: RUF012


class Word(Model, kw_only=True, eq=False):
    """A table of one column."""

    __tablename__ = "words"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)


class Line(Model, kw_only=True, eq=False):
    """A table without a version."""

    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str] = mapped_column(String(40))


@pytest.fixture
async def db(databases: Databases) -> AsyncIterator[DBSessionManager]:
    """Give a manager whose database has the tables."""
    found = DBSessionManager(databases.owner_url)
    found.init()
    tables = [table_of(model) for model in (Memo, Word, Line)]
    async with found.make_connection() as connection:
        await connection.run_sync(Model.metadata.create_all, tables=tables)
    yield found
    await found.close_connections()


@pytest.fixture
async def psycopg_engine(databases: Databases) -> AsyncIterator[AsyncEngine]:
    """Give a host's engine over the other driver."""
    url = databases.owner_url.replace("postgresql://", "postgresql+psycopg://")
    found = create_async_engine(url)
    yield found
    await found.dispose()


async def _titles(db: DBSessionManager) -> list[str]:
    async with db.get_session(read_only=True) as session:
        return list((await session.scalars(select(Memo.title).order_by(Memo.id))).all())


async def _at_commit(db: DBSessionManager, what: str) -> None:
    """Have the server do that inside COMMIT, for each new memo."""
    body = f"BEGIN {what}; RETURN NULL; END"
    make = f"CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"
    use = (
        "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON memos DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION at_commit()"
    )
    async with db.make_connection() as connection:
        await connection.execute(text(make))
        await connection.execute(text(use))


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_unit_that_swallows_a_failed_statement_is_no_success(
    db: DBSessionManager, psycopg_engine: AsyncEngine, driver: str
) -> None:
    """COMMIT after a failure is answered ROLLBACK, without an error: that is not "done"."""
    manager = db if driver == "asyncpg" else DBSessionManager(psycopg_engine)
    manager.init()
    seen: list[str] = []

    async def callback() -> None:
        seen.append("called")

    with pytest.raises(UnitOfWorkError):
        async with manager.get_session() as session:
            await Memo.create(session, title="a")
            after_commit(session, callback)
            with pytest.raises(Exception, match="zero"):
                await session.execute(text("SELECT 1 / 0"))

    assert (await _titles(db), seen) == ([], [])


async def test_unit_that_swallows_a_failed_verb_is_no_success(db: DBSessionManager) -> None:
    """A refused verb has ended the transaction, too; the text tells nothing of the statement."""
    await db.run(lambda s: Memo.create(s, title="canary"))

    with pytest.raises(UnitOfWorkError) as caught:
        async with db.get_session() as session:
            await Memo.create(session, title="b")
            with pytest.raises(TakenError):
                await Memo.create(session, title="canary")

    assert await _titles(db) == ["canary"]
    assert "canary" not in str(caught.value)


async def test_connection_that_swallows_a_failed_statement_is_no_success(
    db: DBSessionManager,
) -> None:
    """The same without a session."""
    with pytest.raises(UnitOfWorkError):
        async with db.make_connection() as connection:
            await connection.execute(text("INSERT INTO lines VALUES (1, 'x')"))
            with pytest.raises(Exception, match="zero"):
                await connection.execute(text("SELECT 1 / 0"))


async def test_failure_inside_a_savepoint_may_be_caught(db: DBSessionManager) -> None:
    """A savepoint is what makes catching an error right."""
    async with db.get_session() as session:
        await Memo.create(session, title="a")
        with pytest.raises(Exception, match="zero"):
            async with session.begin_nested():
                await session.execute(text("SELECT 1 / 0"))

    assert await _titles(db) == ["a"]


async def test_verbs_that_write_are_refused_in_a_read_only_unit(db: DBSessionManager) -> None:
    """In autocommit they would be saved at once, each for itself."""
    memo = await db.run(lambda s: Memo.create(s, title="a"))

    with pytest.raises(UnitOfWorkError):
        await db.run(lambda s: Memo.create(s, title="b"), read_only=True)
    with pytest.raises(UnitOfWorkError):
        await db.run(lambda s: Memo.update(s, memo.id, title="b"), read_only=True)
    with pytest.raises(UnitOfWorkError):
        await db.run(lambda s: s.execute(delete(Memo)), read_only=True)

    assert await _titles(db) == ["a"]


async def test_callback_of_a_plain_savepoint_goes_with_it(db: DBSessionManager) -> None:
    """Rolled back with it, or with the one around it; kept when it was released."""
    seen: list[str] = []

    async def note(word: str) -> None:
        seen.append(word)

    async with db.get_session() as session:
        with pytest.raises(RuntimeError):
            async with session.begin_nested():
                after_commit(session, lambda: note("outer"))
                async with session.begin_nested():
                    after_commit(session, lambda: note("released into what was rolled back"))
                raise RuntimeError
        async with session.begin_nested():
            after_commit(session, lambda: note("released"))

    assert seen == ["released"]


async def test_callback_of_a_host_savepoint_goes_with_it(
    databases: Databases, db: DBSessionManager
) -> None:
    """The same in a session of somebody else's."""
    seen: list[str] = []

    async def note(word: str) -> None:
        seen.append(word)

    engine = create_async_engine(
        databases.owner_url.replace("postgresql://", "postgresql+asyncpg://")
    )
    async with AsyncSession(engine) as session:
        with pytest.raises(RuntimeError):
            async with session.begin_nested():
                after_commit(session, lambda: note("rolled back"))
                raise RuntimeError
        async with session.begin_nested():
            after_commit(session, lambda: note("left over"))
        await session.close()
        async with session.begin_nested():
            after_commit(session, lambda: note("released"))
        await session.commit()
        await asyncio.sleep(0.02)
    await engine.dispose()

    assert seen == ["released"]
    assert await _titles(db) == []


async def test_unit_cancelled_during_a_commit_that_fails_is_cancelled(
    db: DBSessionManager, databases: Databases
) -> None:
    """It is not run again for somebody who has gone: the cancellation is not lost."""
    await _at_commit(db, "PERFORM pg_sleep(1); RAISE EXCEPTION 'x' USING ERRCODE = '40001'")
    runs = 0

    async def unit(session: Db) -> None:
        nonlocal runs
        runs += 1
        await Memo.create(session, title="a")

    async with superuser(databases.superuser_url) as watcher:
        task = asyncio.create_task(db.run(unit))
        await until_somebody_sleeps(watcher)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert runs == 1


async def test_connection_lost_before_commit_was_sent_is_rerun(
    db: DBSessionManager, databases: Databases
) -> None:
    """What was never sent is not unknown."""
    runs = 0

    async def unit(session: Db) -> None:
        nonlocal runs
        runs += 1
        await Memo.create(session, title="a")
        if runs == 1:
            async with superuser(databases.superuser_url) as killer:
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            await asyncio.sleep(0.1)

    await db.run(unit)

    assert (runs, await _titles(db)) == (2, ["a"])


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_commit_without_an_answer_is_unknown_and_leaves_nothing(
    db: DBSessionManager,
    databases: Databases,
    psycopg_engine: AsyncEngine,
    caplog: pytest.LogCaptureFixture,
    driver: str,
) -> None:
    """Past its deadline the wire is cut; no connection is kept, no driver's word gets logged."""
    await _at_commit(db, "PERFORM pg_sleep(2)")
    manager = DBSessionManager(databases.owner_url if driver == "asyncpg" else psycopg_engine)
    manager._commit_timeout = timedelta(seconds=0.2)
    manager.init()

    with pytest.raises(OutcomeUnknownError):
        await manager.run(lambda s: Memo.create(s, title="a"))

    assert manager.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    gc.collect()
    await asyncio.sleep(0.05)
    assert caplog.records == []
    await manager.close_connections()


async def test_primary_that_became_read_only_is_left(
    databases: Databases, db: DBSessionManager
) -> None:
    """Its pooled connections stay as they are: a write opens new ones, and needs no restart."""
    settings = DatabaseSettings(url=databases.owner_url, pool_size=1)
    manager = DBSessionManager(settings)
    manager.init()
    async with superuser(databases.superuser_url) as other:
        name = await other.fetchval("SELECT current_database()")
        await other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        assert await _titles(manager) == []
        await other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")

    await manager.run(lambda s: Memo.create(s, title="a"))

    assert await _titles(db) == ["a"]
    await manager.close_connections()


@pytest.mark.parametrize("read_only", [True, False])
async def test_column_that_a_migration_changes_costs_a_rerun(
    databases: Databases, db: DBSessionManager, *, read_only: bool
) -> None:
    """Statements prepared before are refused once, by the driver, and then prepared anew."""

    async def unit(session: Db) -> None:
        await session.scalar(select(Memo.title))

    await db.run(unit, read_only=read_only)
    async with superuser(databases.superuser_url) as other:
        await other.execute("ALTER TABLE memos ALTER title TYPE varchar(80)")

    await db.run(unit, read_only=read_only)


async def test_error_that_rises_under_the_session_stays_the_callers(db: DBSessionManager) -> None:
    """A file that the caller's function can't open is not a lost connection."""
    runs = 0

    def work(_connection: object) -> None:
        raise FileNotFoundError("mine")

    async def unit(connection: AsyncConnection) -> None:
        nonlocal runs
        runs += 1
        await connection.run_sync(work)

    async def with_session(session: Db) -> None:
        assert isinstance(session, AsyncSession)
        await unit(await session.connection())

    with pytest.raises(FileNotFoundError, match="mine"):
        await db.run(with_session)

    assert runs == 1


async def test_locked_row_is_the_newest(db: DBSessionManager) -> None:
    """What the session had loaded before is replaced, so that nobody's change is undone unseen."""
    memo = await db.run(lambda s: Memo.create(s, title="a"))
    await db.run(lambda s: Line.create(s, id=1, words="a"))

    async with db.get_session() as session:
        known = (await Memo.get_by_id(session, memo.id), await Line.get_by_id(session, 1))
        await db.run(lambda s: Memo.update(s, memo.id, title="b"))
        await db.run(lambda s: Line.update(s, 1, words="b"))
        with pytest.raises(StaleVersionError):
            await Memo.update(session, memo.id, version=1, title="c")
        changed = await Memo.update(session, memo.id, title="c")
        line = await Line.update(session, 1, words="a")

    assert (changed, line) == known
    assert await _titles(db) == ["c"]
    found = await db.run(lambda s: Line.get_by_id(s, 1), read_only=True)
    assert found is not None
    assert found.words == "a"


async def test_violated_index_that_no_field_stands_for_is_still_taken(
    db: DBSessionManager,
) -> None:
    """An index over an expression, or another row of the same flush: no collision to be rerun."""
    async with db.make_connection() as connection:
        await connection.execute(text("CREATE UNIQUE INDEX ux_lower ON memos (lower(title))"))
    await db.run(lambda s: Memo.create(s, title="a"))
    await db.run(lambda s: Word.create(s, id="a"))
    runs = 0

    async def expression(session: Db) -> None:
        nonlocal runs
        runs += 1
        await Memo.create(session, title="A")

    async def other_row(session: Db) -> None:
        nonlocal runs
        runs += 1
        session.add(Word(id="a"))
        await Memo.create(session, title="b")

    for unit in (expression, other_row):
        with pytest.raises(TakenError) as caught:
            await db.run(unit)
        assert (caught.value.fields, caught.value.code) == ((), "taken")

    assert runs == 2


async def test_rows_of_a_model_with_one_column_are_objects(db: DBSessionManager) -> None:
    """A page holds instances, however few columns they have."""
    for word in ("a", "b", "c"):
        await db.run(lambda s, word=word: Word.create(s, id=word))  # type: ignore[misc]

    async with db.get_session(read_only=True) as session:
        found = [word.id async for word in Word.stream(session, chunk=2)]

    assert found == ["a", "b", "c"]
