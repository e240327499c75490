"""The plugin's databases: whatever a test did, the next one finds what the template has."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases, _Copy, copy_of, superuser
from denizen.users.model import UserModel

_ROWS = """
SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM audit_events) AS events,
(SELECT count(*) FROM alembic_version) AS versions
"""

_FILL = """
INSERT INTO users (id, email, email_key, username, username_key, role, locale, is_active, version)
VALUES (gen_random_uuid(), 'a@b.de', 'a@b.de', 'a', 'a', 'user', 'en', true, 1)
"""


@pytest.fixture
async def copy(server: Databases, template: str) -> AsyncIterator[_Copy]:
    """Give a copy that no other test gets."""
    made = await _Copy.of(server, template)
    yield made
    await made.drop()


async def test_rows_are_taken_away_and_the_templates_own_stay(copy: _Copy) -> None:
    """Again and again, in the same database; while a connection of the test still holds a lock."""
    for _ in range(3):
        manager = DBSessionManager(copy.databases.app_url)
        manager.init()
        async with manager.get_session() as db:
            await UserModel.create(db, email="ann@example.com", username="ann")
        async with superuser(copy.databases.superuser_url) as left:
            await left.execute("BEGIN; LOCK TABLE users")

            assert await copy.clean()

            async with superuser(copy.databases.superuser_url) as connection:
                assert dict(await connection.fetchrow(_ROWS)) == {
                    "users": 0,
                    "events": 0,
                    "versions": 1,
                }
        await manager.close_connections()


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE users ADD COLUMN age integer",
        "ALTER TABLE users ALTER COLUMN locale SET DEFAULT 'ru'",
        "ALTER TABLE users SET (fillfactor = 50)",
        "ALTER TABLE users ADD CHECK (version > 0)",
        "ALTER TABLE users DISABLE TRIGGER ALL",
        "ALTER DATABASE {name} SET statement_timeout = 1",
        "ALTER DATABASE {name} CONNECTION LIMIT 50",
        "GRANT SELECT ON users TO PUBLIC",
        "CREATE TABLE more ()",
        "CREATE INDEX ON users (locale)",
        "DROP INDEX ix_users_created_at_id",
        "CREATE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA more",
        "CREATE EXTENSION citext",
        "COMMENT ON TABLE users IS 'people'",
        "CREATE TYPE mood AS ENUM ('good')",
        'CREATE COLLATION more FROM "C"',
        "CREATE PUBLICATION more",
        "SELECT lo_from_bytea(0, 'x')",
        "CREATE SEQUENCE more",
        "UPDATE alembic_version SET version_num = 'x'",
        "DELETE FROM alembic_version",
        f"{_FILL}; ANALYZE users",
    ],
)
async def test_what_is_altered_is_not_used_again(copy: _Copy, sql: str) -> None:
    """The schema, rights, the template's rows, what the planner knows."""
    for statement in sql.format(name=copy.name).split("; "):
        await copy.databases.run(statement)

    assert not await copy.clean()


async def test_database_that_lets_nobody_in_is_not_used_again(
    copy: _Copy, server: Databases
) -> None:
    """It can't be looked at."""
    await server.run(f"ALTER DATABASE {copy.name} ALLOW_CONNECTIONS false")

    assert not await copy.clean()


async def test_name_is_new_and_the_old_one_is_nobodys(copy: _Copy) -> None:
    """A pool that a test forgot connects in vain, and not to the next test's database."""
    before = copy.databases
    assert await copy.clean()

    assert copy.databases != before
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await before.run("SELECT 1")


async def test_sequences_and_triggers_of_a_schema_of_ones_own(server: Databases) -> None:
    """An identity begins anew, a sequence that moved is seen, no trigger logs the emptying."""
    async with copy_of(server, "template0") as made:
        await made.run(
            "CREATE TABLE things (id integer GENERATED ALWAYS AS IDENTITY);"
            "CREATE TABLE emptyings (at timestamptz DEFAULT now()); CREATE SEQUENCE numbers;"
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN INSERT INTO emptyings DEFAULT VALUES; RETURN NULL; END';"
            "CREATE TRIGGER t AFTER TRUNCATE ON things EXECUTE FUNCTION note()"
        )
        copy = await _Copy.of(server, urlsplit(made.owner_url).path[1:])
        for _ in range(2):
            async with superuser(copy.databases.superuser_url) as connection:
                new = "INSERT INTO things DEFAULT VALUES RETURNING id"
                assert await connection.fetchval(new) == 1
                assert await connection.fetchval("SELECT count(*) FROM emptyings") == 0
            assert await copy.clean()
        await copy.databases.run("SELECT nextval('numbers')")

        assert not await copy.clean()
        await copy.drop()
