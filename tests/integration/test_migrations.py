"""Migrations: what they make is what the models say, once, whole."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from denizen import migrations
from denizen.db.errors import DataError, UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.db.model import Model, table_of
from denizen.db.testing import Databases, superuser
from denizen.migrations import head, migrate, plan, schema_is_current, steps
from denizen.tables import Tables
from denizen.users.model import UserModel
from processes import free_port

_TABLES: Final = Tables.of(table_of(UserModel))
OURS: Final = (table_of(UserModel), *(getattr(_TABLES, f.name) for f in fields(Tables)))
NAMES: Final = frozenset(table.name for table in OURS)
FAILING: Final = '''"""fails at its second statement"""
from alembic import op
revision = "fails"
down_revision = "{down}"
branch_labels = None
depends_on = None

def upgrade() -> None:
    op.execute("CREATE TABLE half_made (id int)")
    op.execute("SELECT 1 / 0")
'''
# Everything of a table that SQL can see, as PostgreSQL itself writes it down.
_COLUMNS: Final = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       coalesce(l.collname, ''), coalesce(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relname = ANY($1) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
"""
_CONSTRAINTS: Final = """
SELECT c.relname, n.conname, pg_get_constraintdef(n.oid) FROM pg_constraint n
JOIN pg_class c ON c.oid = n.conrelid WHERE c.relname = ANY($1) AND n.contype <> 'n'
"""
_INDEXES: Final = """
SELECT tablename, indexname, indexdef FROM pg_indexes
WHERE tablename = ANY($1) AND indexname NOT LIKE '%_parts'
"""  # of trigrams, which not every server has: no model says them


@pytest.fixture
async def empty(databases: Databases) -> AsyncIterator[DBSessionManager]:
    """Give a manager of the owning role on a database without tables."""
    async with superuser(databases.superuser_url) as cleaner:
        await cleaner.execute(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION denizen_owner"
        )
    found = DBSessionManager(databases.owner_url)
    found.init()
    yield found
    await found.close_connections()


async def test_models_and_migrations_agree(databases: Databases) -> None:
    """On a migrated database autogenerate finds nothing to do: no drift."""

    def is_compared(name: str | None, kind: str, *_: object) -> bool:
        is_ours = kind != "table" or name in NAMES
        return is_ours and not (name or "").endswith("_parts")

    def differences(connection: Connection) -> list[object]:
        options = {
            "include_name": is_compared,
            "include_object": lambda _, name, kind, *__: is_compared(name, kind),
            "compare_type": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, Model.metadata))

    db = DBSessionManager(databases.owner_url)
    db.init()
    async with db.make_connection() as connection:
        assert await connection.run_sync(differences) == []
    await db.close_connections()


async def test_two_at_once_make_one_schema(empty: DBSessionManager) -> None:
    """Both succeed; one did the work, the other found it done."""
    one, two = await asyncio.gather(
        migrate(empty, serving_role="denizen"), migrate(empty, serving_role="denizen")
    )

    assert min(len(one.steps), len(two.steps)) == 0
    assert await schema_is_current(empty.engine)


async def test_plan_changes_nothing(empty: DBSessionManager) -> None:
    """The steps are told, and the database stays empty."""
    found = await plan(empty)

    assert (found.current, found.head) == (None, head())
    assert len(found.steps) >= 2
    assert not await schema_is_current(empty.engine)


async def test_failing_migration_leaves_nothing(
    empty: DBSessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps and grants are one transaction."""

    def fail(_connection: Connection, _role: str | None) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(migrations, "_grant", fail)
    with pytest.raises(RuntimeError):
        await migrate(empty)

    async with empty.make_connection() as connection:
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert await connection.scalar(text(tables)) == 0


async def test_schema_of_a_newer_program_is_current(
    empty: DBSessionManager,
) -> None:
    """During a rolling update the older program goes on, and migrates nothing back."""
    await migrate(empty)
    async with empty.make_connection() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    assert await schema_is_current(empty.engine)
    assert (await migrate(empty)).steps == ()


@pytest.fixture
async def owner(blank: Databases) -> AsyncIterator[DBSessionManager]:
    """Give a manager of the role that will own the schema of the empty database."""
    found = DBSessionManager(blank.owner_url)
    found.init()
    yield found
    await found.close_connections()


async def _tables(databases: Databases) -> set[str]:
    async with superuser(databases.superuser_url) as connection:
        rows = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'S', 'v')"
            " AND relnamespace = 'public'::regnamespace"
        )
        return {row["relname"] for row in rows}


async def _catalogue(databases: Databases, query: str) -> set[tuple[Any, ...]]:
    async with superuser(databases.superuser_url) as connection:
        return {tuple(row) for row in await connection.fetch(query, sorted(NAMES))}


async def test_empty_database_is_brought_to_the_head(
    blank: Databases, owner: DBSessionManager
) -> None:
    """All steps, oldest first, then none: a second run changes nothing."""
    planned = await plan(owner)
    assert (planned.current, planned.head) == (None, head())
    assert await _tables(blank) == set()

    done = await migrate(owner, serving_role="denizen")
    assert done == planned
    assert [step.split()[0] for step in done.steps] == sorted(s.split()[0] for s in done.steps)
    assert await _tables(blank) == NAMES | {"alembic_version"}

    again = await migrate(owner, serving_role="denizen")
    assert (again.current, again.steps) == (head(), ())


async def test_schema_is_current_only_after_migrating(
    blank: Databases, owner: DBSessionManager
) -> None:
    """False on an empty database and at every revision before the head; true at the head."""
    assert not await schema_is_current(owner.engine)
    done = await migrate(owner)
    assert await schema_is_current(owner.engine)

    for revision in [step.split()[0] for step in done.steps][:-1]:
        async with superuser(blank.superuser_url) as connection:
            await connection.execute("UPDATE alembic_version SET version_num = $1", revision)
        assert not await schema_is_current(owner.engine)


@pytest.mark.parametrize("query", [_COLUMNS, _CONSTRAINTS, _INDEXES], ids=["col", "con", "ix"])
async def test_migrated_catalogue_is_that_of_the_models(
    blank: Databases, databases: Databases, owner: DBSessionManager, query: str
) -> None:
    """Types, collations, defaults, keys, checks and indexes are those that the models would make.

    Wider than Alembic's comparison, which sees no check and no collation.
    """
    async with owner.make_connection() as connection:
        await connection.run_sync(Model.metadata.create_all, tables=list(OURS))

    made, migrated = await _catalogue(blank, query), await _catalogue(databases, query)
    assert made
    assert migrated == made


@pytest.mark.parametrize("is_empty", [True, False])
async def test_failing_step_leaves_nothing(
    blank: Databases,
    owner: DBSessionManager,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_empty: bool,
) -> None:
    """A step that fails takes back what it and the steps before it in the same run did."""
    if not is_empty:
        await migrate(owner)
    before = await _tables(blank)
    scripts = tmp_path / "migrations"
    shutil.copytree(Path(migrations.__file__).parent, scripts)
    (scripts / "versions" / "9999_fails.py").write_text(FAILING.format(down=head()))
    monkeypatch.setattr(steps, "_config", lambda: _config(scripts))

    assert (await plan(owner)).steps[-1] == "fails fails at its second statement"
    with pytest.raises(DataError):
        await migrate(owner)
    assert await _tables(blank) == before
    monkeypatch.undo()
    assert await schema_is_current(owner.engine) is not is_empty

    await migrate(owner)
    assert await schema_is_current(owner.engine)


def _config(scripts: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts))
    return config


@pytest.mark.parametrize("shape", ['odd "name" {}', "With-Dash.{}", "100%{}", "a:b{}"])
async def test_serving_role_of_any_name_gets_in(
    blank: Databases, owner: DBSessionManager, shape: str
) -> None:
    """The grants reach a role whatever its name: it may read, and make nothing."""
    role = shape.format(secrets.token_hex(4))
    quoted = '"' + role.replace('"', '""') + '"'
    await blank.run(f"CREATE ROLE {quoted} LOGIN")
    try:
        await migrate(owner, serving_role=role)
        async with superuser(blank.superuser_url) as connection:
            await connection.execute(f"SET SESSION AUTHORIZATION {quoted}")
            assert await connection.fetchval("SELECT count(*) FROM users") == 0
            assert not await connection.fetchval("SELECT has_schema_privilege('public', 'CREATE')")
    finally:
        await blank.run(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")


async def test_database_out_of_reach_is_told() -> None:
    """Neither planning nor migrating nor asking leaks the driver's own error."""
    db = DBSessionManager(f"postgresql://nobody@127.0.0.1:{free_port()}/none?sslmode=disable")
    db.init()
    try:
        for act in (plan, migrate):
            with pytest.raises(UnavailableError):
                await act(db)
    finally:
        await db.close_connections()


async def test_long_migration_outlives_the_time_out_of_statements(
    owner: DBSessionManager, blank: Databases
) -> None:
    """Another's lock on the way is waited for, beyond what a request may wait."""
    async with superuser(blank.superuser_url) as other:
        await other.execute(f"SELECT pg_advisory_lock({migrations._LOCK})")
        waiting = asyncio.create_task(migrate(owner))
        await asyncio.sleep(2.5)  # DENIZEN_DATABASE_LOCK_TIMEOUT is 2
        assert not waiting.done()
        await other.execute(f"SELECT pg_advisory_unlock({migrations._LOCK})")
        assert (await waiting).steps


@pytest.mark.parametrize("has_trigrams", [True, False])
async def test_search_is_indexed_where_the_server_has_trigrams(
    empty: DBSessionManager,
    databases: Databases,
    *,
    has_trigrams: bool,
) -> None:
    """Where it has none, or the role may not use them, the schema is whole without."""
    if not has_trigrams:
        async with superuser(databases.superuser_url) as other:
            name = await other.fetchval("SELECT current_database()")
            await other.execute(f"ALTER DATABASE {name} OWNER TO CURRENT_USER")
    await migrate(empty)

    indexes = "SELECT count(*) FROM pg_indexes WHERE indexname LIKE '%_parts'"
    async with empty.make_connection() as connection:
        assert await connection.scalar(text(indexes)) == (2 if has_trigrams else 0)
    assert await schema_is_current(empty.engine)
