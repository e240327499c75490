"""The plugin's databases: whatever a test did, the next one finds what the template has."""

from collections.abc import AsyncIterator

import pytest

from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases, _Copy, _drop
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
    await _drop(server, made.name)


async def test_rows_are_taken_away_and_the_templates_own_stay(copy: _Copy) -> None:
    """Again and again, in the same database; while a connection of the test still holds a lock."""
    for _ in range(3):
        manager = DBSessionManager(copy.databases.app_url)
        manager.init()
        async with manager.get_session() as db:
            await UserModel.create(db, email="ann@example.com", username="ann")
        async with copy.databases.connected() as left:
            await left.execute("BEGIN; LOCK TABLE users")

            assert await copy.clean()

            async with copy.databases.connected() as connection:
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
