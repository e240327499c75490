"""Migrations: what they make is what the models say, once, whole."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from denizen import migrations
from denizen.db import DBSessionManager, Model
from denizen.db.model import table_of
from denizen.db.testing import Databases
from denizen.migrations import head, migrate, plan, schema_is_current
from denizen.parts import Tables
from denizen.users.model import UserModel
from support import superuser


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
    Tables.of(table_of(UserModel))

    def differences(connection: Connection) -> list[object]:
        ours = {"users", "sessions", "audit_events", "api_keys"}
        options = {
            "include_name": lambda name, kind, _: kind != "table" or name in ours,
            "include_object": lambda thing, *_: getattr(thing, "name", None) != "papers",
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
