"""Units of work on a real database: commit, roll-back, joining, callbacks, retries."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import String, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from denizen.db import Db, DBSessionManager, Model, after_commit
from denizen.db.errors import (
    ConflictError,
    DataError,
    NotInitializedError,
    OutcomeUnknownError,
    ReferenceMissingError,
    StaleVersionError,
    TakenError,
    UnavailableError,
    UnitOfWorkError,
)
from denizen.db.testing import Databases, superuser
from support import StatementCounter, until_somebody_sleeps


class Note(Model, kw_only=True, eq=False):
    """A table of somebody who uses the data layer alone."""

    __tablename__ = "papers"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default_factory=uuid7)
    title: Mapped[str] = mapped_column(String(40), unique=True)
    slug_key: Mapped[str] = mapped_column(String(40), unique=True, info={"field": "slug"})
    version: Mapped[int] = mapped_column(init=False)
    __mapper_args__ = {"version_id_col": version, "eager_defaults": True}  # noqa: RUF012


@pytest.fixture
async def db(databases: Databases) -> AsyncIterator[DBSessionManager]:
    """Give a manager whose database has the table."""
    found = DBSessionManager(databases.owner_url)
    found.init()
    async with found.make_connection() as connection:
        await connection.run_sync(Note.__table__.create)  # type: ignore[attr-defined]
    yield found
    await found.close_connections()


async def _titles(db: DBSessionManager) -> list[str]:
    async with db.get_session(read_only=True) as session:
        return list((await session.scalars(select(Note.title).order_by(Note.id))).all())


@pytest.mark.sketch(16)
async def test_manager_before_init_says_what_to_call(databases: Databases) -> None:
    """A manager that was not started raises a typed error that names `init()`."""
    db = DBSessionManager(databases.app_url)

    with pytest.raises(NotInitializedError, match=r"init\(\)"):
        async with db.get_session():
            pass
    with pytest.raises(NotInitializedError, match=r"init\(\)"):
        async with db.make_connection():
            pass
    with pytest.raises(NotInitializedError):
        await db.close_connections()


async def test_unit_commits_at_its_end(db: DBSessionManager) -> None:
    """What a unit wrote is visible to others when its block is left, not before."""
    async with db.get_session() as session:
        await Note.create(session, title="a", slug_key="a")
        assert await _titles(db) == []

    assert await _titles(db) == ["a"]


async def test_unit_with_an_error_leaves_nothing(db: DBSessionManager) -> None:
    """Any error that leaves the block rolls everything back and comes out as it was."""
    with pytest.raises(RuntimeError, match="mine"):
        async with db.get_session() as session:
            await Note.create(session, title="a", slug_key="a")
            raise RuntimeError("mine")

    assert await _titles(db) == []


@pytest.mark.sketch(11, 21)
@pytest.mark.parametrize("act", ["commit", "rollback", "close", "reset", "invalidate"])
async def test_session_inside_its_unit_refuses_to_end_it(db: DBSessionManager, act: str) -> None:
    """Verbs and queries can't end the transaction that the unit owns."""
    with pytest.raises(UnitOfWorkError):
        async with db.get_session() as session:
            await Note.create(session, title="a", slug_key="a")
            await getattr(session, act)()

    assert await _titles(db) == []


async def test_begin_inside_a_unit_is_refused(db: DBSessionManager) -> None:
    """`begin()` would commit at the end of its block; a savepoint does not."""
    async with db.get_session() as session:
        with pytest.raises(UnitOfWorkError):
            session.begin()
        async with session.begin_nested():
            await Note.create(session, title="a", slug_key="a")

    assert await _titles(db) == ["a"]


@pytest.mark.sketch(19)
async def test_attributes_stay_readable_after_the_unit(db: DBSessionManager) -> None:
    """No attribute expires at commit: reading one later asks nobody."""
    async with db.get_session() as session:
        note = await Note.create(session, title="a", slug_key="a")

    assert (note.title, note.version) == ("a", 1)


async def test_unit_without_statements_takes_no_connection(db: DBSessionManager) -> None:
    """A unit opens late: while nothing is asked, the pool is untouched."""
    async with db.get_session():
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_read_only_unit_costs_no_transaction(db: DBSessionManager) -> None:
    """A read is one statement on the wire, without BEGIN and COMMIT."""
    counter = StatementCounter(db)
    note = await db.run(lambda s: Note.create(s, title="a", slug_key="a"))
    await db.run(lambda s: Note.get_by_id(s, note.id), read_only=True)

    async with counter.listening() as heard:
        found = await db.run(lambda s: Note.get_by_id(s, note.id), read_only=True)

    assert found is not None
    assert len(heard) == 1
    assert heard[0].startswith("SELECT")


async def test_write_in_a_read_only_unit_is_refused(db: DBSessionManager) -> None:
    """A pending object in a read-only unit is an error, not a silent loss."""
    with pytest.raises(UnitOfWorkError):
        async with db.get_session(read_only=True) as session:
            session.add(Note(title="a", slug_key="a"))

    assert await _titles(db) == []


async def test_taken_values_are_named_all_at_once(db: DBSessionManager) -> None:
    """One violated index is enough to learn every taken field, by the field's own name."""
    await db.run(lambda s: Note.create(s, title="a", slug_key="a"))

    with pytest.raises(TakenError) as both:
        await db.run(lambda s: Note.create(s, title="a", slug_key="a"))
    with pytest.raises(TakenError) as one:
        await db.run(lambda s: Note.create(s, title="b", slug_key="a"))

    assert (both.value.fields, both.value.code) == (("title", "slug"), "title_taken")
    assert one.value.fields == ("slug",)


async def test_taken_values_of_an_update_are_named_too(db: DBSessionManager) -> None:
    """An update that collides names every taken field and changes nothing."""
    await db.run(lambda s: Note.create(s, title="a", slug_key="a"))
    other = await db.run(lambda s: Note.create(s, title="b", slug_key="b"))

    with pytest.raises(TakenError) as caught:
        await db.run(lambda s: Note.update(s, other.id, title="a", slug_key="a"))

    assert caught.value.fields == ("title", "slug")
    assert await _titles(db) == ["a", "b"]


async def test_taken_without_a_constraint_name_is_settled_by_asking(
    db: DBSessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster's driver error carries no constraint name; the fields are found all the same."""
    await db.run(lambda s: Note.create(s, title="a", slug_key="a"))
    monkeypatch.setattr("denizen.db.model.constraint_name", lambda _driver: None)

    with pytest.raises(TakenError) as caught:
        await db.run(lambda s: Note.create(s, title="b", slug_key="a"))

    assert caught.value.fields == ("slug",)


@pytest.mark.sketch(10)
async def test_update_and_delete_of_nobody_say_so(db: DBSessionManager) -> None:
    """`update` gives None and `delete` False when there is no row."""
    note = await db.run(lambda s: Note.create(s, title="a", slug_key="a"))

    assert await db.run(lambda s: Note.update(s, uuid7(), title="b")) is None
    assert await db.run(lambda s: Note.delete(s, uuid7())) is False
    assert await db.run(lambda s: Note.delete(s, note.id)) is True


@pytest.mark.sketch(17)
async def test_update_with_an_unknown_column_is_refused(db: DBSessionManager) -> None:
    """A misspelt name changes nothing and is named."""
    note = await db.run(lambda s: Note.create(s, title="a", slug_key="a"))

    with pytest.raises(TypeError, match="titel"):
        await db.run(lambda s: Note.update(s, note.id, titel="b"))


@pytest.mark.sketch(22)
async def test_update_of_an_older_version_is_refused(db: DBSessionManager) -> None:
    """Two who read the same version: the second is told."""
    note = await db.run(lambda s: Note.create(s, title="a", slug_key="a"))
    await db.run(lambda s: Note.update(s, note.id, version=1, title="b"))

    with pytest.raises(StaleVersionError):
        await db.run(lambda s: Note.update(s, note.id, version=1, title="c"))


async def test_updates_at_once_lose_nothing(db: DBSessionManager) -> None:
    """Twenty concurrent updates without a version wait for each other; each counts."""
    note = await db.run(lambda s: Note.create(s, title="a", slug_key="a"))

    async def rename(title: str) -> None:
        await db.run(lambda s: Note.update(s, note.id, title=title))

    await asyncio.gather(*(rename(f"t{number}") for number in range(20)))

    found = await db.run(lambda s: Note.get_by_id(s, note.id), read_only=True)
    assert found is not None
    assert found.version == 21


async def test_joined_unit_is_a_savepoint(db: DBSessionManager) -> None:
    """A refused inner unit leaves the outer transaction usable, and commits nothing itself."""
    async with db.get_session() as outer:
        await Note.create(outer, title="a", slug_key="a")
        with pytest.raises(TakenError) as caught:
            async with db.get_session(join=outer) as inner:
                await Note.create(inner, title="a", slug_key="a")
        async with db.get_session(join=outer) as inner:
            await Note.create(inner, title="b", slug_key="b")
        assert await _titles(db) == []

    assert caught.value.fields == ("title", "slug")
    assert await _titles(db) == ["a", "b"]


async def test_joined_unit_notices_that_the_caller_committed(
    databases: Databases, db: DBSessionManager
) -> None:
    """A host that commits inside a joined unit is told, not obeyed in silence."""
    engine = _host_engine(databases)
    async with AsyncSession(engine) as session:
        with pytest.raises(UnitOfWorkError):
            async with db.get_session(join=session) as joined:
                await Note.create(joined, title="a", slug_key="a")
                await session.commit()
    await engine.dispose()


async def test_callback_runs_after_commit_with_the_connection_back(db: DBSessionManager) -> None:
    """Callbacks see the committed row, hold no connection, and their failures change nothing."""
    seen: list[object] = []

    async def callback() -> None:
        seen.append((await _titles(db), db.engine.pool.checkedout()))  # type: ignore[attr-defined]
        raise RuntimeError("nobody minds")

    async with db.get_session() as session:
        await Note.create(session, title="a", slug_key="a")
        after_commit(session, callback)
        assert seen == []

    assert seen == [(["a"], 0)]


async def test_callback_of_a_rolled_back_unit_or_savepoint_is_dropped(db: DBSessionManager) -> None:
    """What was not committed calls nobody back."""
    seen: list[str] = []

    async def note(word: str) -> None:
        seen.append(word)

    with pytest.raises(RuntimeError):
        async with db.get_session() as session:
            after_commit(session, lambda: note("unit"))
            raise RuntimeError
    async with db.get_session() as session:
        after_commit(session, lambda: note("outer"))
        with pytest.raises(RuntimeError):
            async with db.get_session(join=session) as inner:
                await Note.create(inner, title="a", slug_key="a")
                after_commit(inner, lambda: note("inner"))
                raise RuntimeError
        await session.execute(text("SELECT 1"))

    assert seen == ["outer"]


async def test_callback_in_a_host_session_waits_for_the_host(
    databases: Databases, db: DBSessionManager
) -> None:
    """Joined to a host's own session, callbacks run after the host's commit alone."""
    seen: list[str] = []

    async def note() -> None:
        seen.append("called")

    engine = _host_engine(databases)
    async with AsyncSession(engine) as session:
        async with db.get_session(join=session) as joined:
            await Note.create(joined, title="a", slug_key="a")
            after_commit(joined, note)
        await session.rollback()
        async with db.get_session(join=session) as joined:
            await Note.create(joined, title="b", slug_key="b")
            after_commit(joined, note)
        assert seen == []
        await session.commit()
        await asyncio.sleep(0.02)
    await engine.dispose()

    assert seen == ["called"]
    assert await _titles(db) == ["b"]


async def test_failing_commit_is_an_error(db: DBSessionManager) -> None:
    """A constraint checked at COMMIT fails the unit; nothing is taken for done."""
    async with db.make_connection() as connection:
        rule = "ADD CONSTRAINT uq_late UNIQUE (title) DEFERRABLE INITIALLY DEFERRED"
        await connection.execute(text("ALTER TABLE papers DROP CONSTRAINT uq_papers_title"))
        await connection.execute(text(f"ALTER TABLE papers {rule}"))
    await db.run(lambda s: Note.create(s, title="a", slug_key="a"))
    seen: list[str] = []

    async def callback() -> None:
        seen.append("called")

    with pytest.raises(TakenError):
        async with db.get_session() as session:
            await Note.create(session, title="a", slug_key="b")
            after_commit(session, callback)

    assert seen == []
    assert await _titles(db) == ["a"]


async def test_connection_lost_after_commit_was_sent_is_unknown_and_not_rerun(
    db: DBSessionManager,
) -> None:
    """When the backend dies inside COMMIT nobody knows the outcome: no rerun, its own error."""
    async with db.make_connection() as connection:
        await connection.execute(
            text(
                "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(1); RETURN NULL; END $$"
            )
        )
        await connection.execute(
            text(
                "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON papers DEFERRABLE "
                "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()"
            )
        )
    runs = 0

    async def unit(session: Db) -> None:
        nonlocal runs
        runs += 1
        await Note.create(session, title="a", slug_key="a")

    with pytest.raises(OutcomeUnknownError):
        await db.run(unit)

    assert runs == 1


async def test_unit_is_rerun_when_its_connection_dies(
    db: DBSessionManager, databases: Databases
) -> None:
    """A backend terminated before COMMIT costs a rerun, not an error; the row is there once."""
    runs = 0

    async def unit(session: Db) -> Note:
        nonlocal runs
        runs += 1
        note = await Note.create(session, title="a", slug_key="a")
        if runs == 1:
            await _terminate_others(databases)
        await session.execute(text("SELECT 1"))
        return note

    await db.run(unit)

    assert runs == 2
    assert await _titles(db) == ["a"]


@pytest.mark.sketch(20)
async def test_pool_of_dead_connections_heals_without_an_error(
    db: DBSessionManager, databases: Databases
) -> None:
    """When every pooled connection is dead, the next unit does not notice."""
    await asyncio.gather(*(db.run(lambda s: s.execute(text("SELECT 1"))) for _ in range(5)))
    await _terminate_others(databases)
    await asyncio.sleep(0.05)

    assert await _titles(db) == []


async def test_colliding_units_are_rerun_until_they_part(db: DBSessionManager) -> None:
    """Two units that lock two rows crosswise both succeed: the victim runs again (40P01)."""
    first = await db.run(lambda s: Note.create(s, title="a", slug_key="a"))
    second = await db.run(lambda s: Note.create(s, title="b", slug_key="b"))
    runs = 0

    async def cross(one: uuid.UUID, two: uuid.UUID, word: str) -> None:
        async def unit(session: Db) -> None:
            nonlocal runs
            runs += 1
            await Note.update(session, one, title=f"{word}1{runs}")
            await asyncio.sleep(0.2 if runs <= 2 else 0)
            await Note.update(session, two, title=f"{word}2{runs}")

        await db.run(unit)

    await asyncio.gather(cross(first.id, second.id, "x"), cross(second.id, first.id, "y"))

    assert runs >= 3
    assert len(await _titles(db)) == 2


async def test_serialization_failure_is_given_up_after_five_runs(db: DBSessionManager) -> None:
    """A unit that always collides runs five times and ends as `ConflictError`."""
    runs = 0

    async def unit(session: Db) -> None:
        nonlocal runs
        runs += 1
        await session.execute(
            text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$")
        )

    with pytest.raises(ConflictError):
        await db.run(unit)

    assert runs == 5


async def test_unreachable_database_is_refused_within_five_seconds() -> None:
    """Nobody waits long for a database that is not there."""
    db = DBSessionManager("postgresql://nobody@127.0.0.1:1/nothing")
    db.init()
    began = asyncio.get_running_loop().time()

    with pytest.raises(UnavailableError) as caught:
        await db.run(lambda s: s.execute(text("SELECT 1")), read_only=True)

    assert asyncio.get_running_loop().time() - began < 5
    assert "nobody" not in str(caught.value)
    await db.close_connections()


async def test_cancelled_unit_leaves_no_transaction_behind(
    db: DBSessionManager, databases: Databases
) -> None:
    """A unit cancelled in the middle is rolled back, and its connection is free again."""

    async def slow() -> None:
        async with db.get_session() as session:
            await Note.create(session, title="a", slug_key="a")
            await session.execute(text("SELECT pg_sleep(3)"))

    async with superuser(databases.superuser_url) as watcher:
        task = asyncio.create_task(slow())
        await until_somebody_sleeps(watcher)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert await _titles(db) == []
    async with superuser(databases.superuser_url) as watcher:
        open_ones = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
        assert await watcher.fetchval(open_ones) == 0


async def test_unit_cancelled_during_commit_is_committed(
    db: DBSessionManager, databases: Databases
) -> None:
    """COMMIT is never torn: cancelled meanwhile, the unit ends committed, then cancelled."""
    async with db.make_connection() as connection:
        await connection.execute(
            text(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$"
            )
        )
        await connection.execute(
            text(
                "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON papers DEFERRABLE "
                "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()"
            )
        )
    async with superuser(databases.superuser_url) as watcher:
        task = asyncio.create_task(db.run(lambda s: Note.create(s, title="a", slug_key="a")))
        await until_somebody_sleeps(watcher)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await _titles(db) == ["a"]


async def test_statement_beyond_its_time_is_stopped(databases: Databases) -> None:
    """A statement that takes too long ends as unavailable, without the driver's words."""
    url = f"{databases.owner_url}&application_name=slow"
    db = DBSessionManager(url)
    db.init()

    async def unit(session: Db) -> None:
        await session.execute(text("SET LOCAL statement_timeout = 50"))
        await session.execute(text("SELECT pg_sleep(2)"))

    with pytest.raises(UnavailableError) as caught:
        await db.run(unit)

    assert caught.value.sqlstate == "57014"
    await db.close_connections()


@pytest.mark.sketch(3)
async def test_error_text_holds_no_sql_and_no_value(db: DBSessionManager) -> None:
    """What leaves the data layer tells kinds and fields, never SQL or values."""
    await db.run(lambda s: Note.create(s, title="canary", slug_key="canary"))
    caught: list[BaseException] = []
    for unit in (
        lambda s: Note.create(s, title="canary", slug_key="canary"),
        lambda s: Note.create(s, title="canary" * 20, slug_key="x"),
        lambda s: s.execute(text("SELECT 'canary' FROM nowhere")),
    ):
        with pytest.raises(DataError) as error:
            await db.run(unit)
        caught.append(error.value)

    for error_ in caught:
        told = f"{error_!s} {error_!r} {error_.__cause__!r}"
        assert "canary" not in told
        assert "SELECT" not in told
        assert error_.__suppress_context__


async def test_own_errors_of_the_caller_are_not_translated(db: DBSessionManager) -> None:
    """An OSError that the caller's own code raises in a unit is not the database's."""
    with pytest.raises(FileNotFoundError):
        async with db.get_session() as session:
            await session.execute(text("SELECT 1"))
            raise FileNotFoundError("mine")


async def test_foreign_key_violation_is_typed(db: DBSessionManager) -> None:
    """A missing row at the other end is told by the constraint's name."""
    async with db.make_connection() as connection:
        await connection.execute(
            text("CREATE TABLE leaves (note_id uuid CONSTRAINT fk_leaf REFERENCES papers (id))")
        )
    note = await db.run(lambda s: Note.create(s, title="a", slug_key="a"))
    await db.run(lambda s: s.execute(text(f"INSERT INTO leaves VALUES ('{note.id}')")))

    with pytest.raises(ReferenceMissingError) as caught:
        await db.run(lambda s: Note.delete(s, note.id))

    assert caught.value.constraint == "fk_leaf"


async def test_engine_of_the_caller_stays_open(databases: Databases) -> None:
    """A manager on your engine uses it, maps its errors, and leaves it open."""
    engine = _host_engine(databases)
    db = DBSessionManager(engine)
    db.init()
    async with db.make_connection() as connection:
        await connection.run_sync(Note.__table__.create)  # type: ignore[attr-defined]
    await db.run(lambda s: Note.create(s, title="a", slug_key="a"))
    with pytest.raises(TakenError):
        await db.run(lambda s: Note.create(s, title="a", slug_key="a"))

    await db.close_connections()

    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
    await engine.dispose()


async def test_verbs_work_with_a_plain_session(databases: Databases, db: DBSessionManager) -> None:
    """Any `AsyncSession` will do; the violated index still gives its field a name."""
    engine = _host_engine(databases)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        note = await Note.create(session, title="a", slug_key="a")
        await session.commit()
        assert await Note.get_by_id(session, note.id) is note
        with pytest.raises(TakenError) as caught:
            await Note.create(session, title="b", slug_key="a")
    await engine.dispose()

    assert caught.value.fields == ("slug",)


async def test_psycopg_is_not_ruled_out(databases: Databases, db: DBSessionManager) -> None:
    """The same verbs and the same errors over psycopg 3."""
    url = databases.owner_url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_async_engine(url)
    other = DBSessionManager(engine)
    other.init()
    await other.run(lambda s: Note.create(s, title="a", slug_key="a"))

    with pytest.raises(TakenError) as caught:
        await other.run(lambda s: Note.create(s, title="a", slug_key="a"))

    assert caught.value.fields == ("title", "slug")
    await engine.dispose()


@pytest.mark.sketch(12)
async def test_stream_walks_everything_in_pages(db: DBSessionManager) -> None:
    """`stream` gives each row once, a page at a time."""
    async with db.get_session() as session:
        for number in range(7):
            await Note.create(session, title=f"t{number}", slug_key=f"s{number}")
    counter = StatementCounter(db)

    async with counter.listening() as heard, db.get_session(read_only=True) as session:
        titles = [note.title async for note in Note.stream(session, chunk=3)]

    assert titles == [f"t{n}" for n in range(7)]
    assert sum("SELECT" in statement for statement in heard) == 3


def _host_engine(databases: Databases) -> AsyncEngine:
    return create_async_engine(
        databases.owner_url.replace("postgresql://", "postgresql+asyncpg://")
    )


async def _terminate_others(databases: Databases) -> None:
    async with superuser(databases.superuser_url) as killer:
        await killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_connection_that_lost_its_prepared_statements_is_replaced(
    manager: DBSessionManager,
) -> None:
    """As after a cancellation at the wrong moment: run again on another, and the one is gone."""

    async def ask(db: Db) -> int:
        await db.scalar(text("SELECT 41 + 1"))
        return int(await db.scalar(text("SELECT pg_backend_pid()")))

    first = await manager.run(ask)
    async with manager.get_session() as session:
        await session.execute(text("DEALLOCATE ALL"))
    second = await manager.run(ask)

    assert second != first
