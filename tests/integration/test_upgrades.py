"""Every step of the schema leaves the program before it all that it works with.

So the next version's schema can be made while this version serves, and no service has to stop:
`docs/how-to/operate.md` promises it, `tests/faults/test_upgrades.py` does it under load.
"""

from collections.abc import AsyncIterator

import pytest
from alembic import command
from sqlalchemy import Connection, text

from additive import Fact, facts, taken
from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases, copy_of
from denizen.migrations import plan, steps

ALLOWED = [
    "ALTER TABLE users ADD COLUMN motto varchar(80)",
    "ALTER TABLE users ADD COLUMN visits integer NOT NULL DEFAULT 0",
    "ALTER TABLE users ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now()",
    "CREATE INDEX ix_users_locale ON users (locale)",
    "CREATE TABLE teams (id uuid PRIMARY KEY, user_id uuid REFERENCES users ON DELETE CASCADE)",
]
REFUSED = {
    "DROP TABLE throttles": "gone or changed: table throttles",
    "ALTER TABLE users RENAME TO people": "gone or changed: table users",
    "ALTER TABLE users DROP COLUMN locale": "gone or changed: column users locale",
    "ALTER TABLE users RENAME locale TO language": "gone or changed: column users locale",
    "ALTER TABLE users ALTER locale TYPE varchar(4)": "gone or changed: column users locale",
    "ALTER TABLE users ALTER locale TYPE text": "gone or changed: column users locale",
    "ALTER TABLE users ALTER hashed_password SET NOT NULL": "new: wants users hashed_password",
    "ALTER TABLE users ALTER created_at DROP DEFAULT": "new: wants users created_at",
    "ALTER TABLE users ALTER locale DROP NOT NULL": "gone or changed: column users locale",
    "ALTER TABLE users ADD COLUMN motto text NOT NULL": "new: wants users motto",
    "ALTER TABLE users ADD COLUMN lucky float DEFAULT random()": "gone or changed: table users",
    "CREATE UNIQUE INDEX ix_one ON users (locale)": "new: unique index users ix_one",
    "DROP INDEX ix_users_email_key": "gone or changed: unique index users ix_users_email_key",
    "ALTER TABLE users ADD CONSTRAINT ck CHECK (version > 0)": "new: constraint users ck",
    "ALTER TABLE users ENABLE ROW LEVEL SECURITY": "gone or changed: table users",
    "CREATE TABLE teams (of uuid CONSTRAINT fk REFERENCES users)": "new: holds users fk",
    "CREATE TRIGGER t BEFORE UPDATE ON users"
    " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()": "new: trigger users t",
    "REVOKE UPDATE ON users FROM denizen": "gone or changed: right users UPDATE denizen",
    "REVOKE EXECUTE ON FUNCTION audit_blank FROM denizen": "gone or changed: right"
    " audit_blank(uuid) EXECUTE denizen",
    "DROP FUNCTION audit_blank": "gone or changed: function audit_blank(uuid)",
}


@pytest.fixture
async def owner(databases: Databases) -> AsyncIterator[DBSessionManager]:
    """Give a manager of the role that owns the migrated schema."""
    found = DBSessionManager(databases.owner_url)
    found.init()
    yield found
    await found.close_connections()


@pytest.fixture
async def blank(server: Databases) -> AsyncIterator[DBSessionManager]:
    """Give the same on an empty database; the serving role gets whatever comes to be."""
    async with copy_of(server, "template0") as empty:
        found = DBSessionManager(empty.owner_url)
        found.init()
        async with found.make_connection() as connection:
            for things in ("TABLES", "FUNCTIONS"):
                how = f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {things} TO denizen"
                await connection.execute(text(how))
        yield found
        await found.close_connections()


async def test_every_revision_leaves_the_program_before_it_what_it_needs(
    blank: DBSessionManager,
) -> None:
    """One after the other, as they are taken: nothing is gone, changed or narrower."""
    found = {}
    for step in (await plan(blank)).steps:
        revision = step.split()[0]
        async with blank.make_connection() as connection:
            found[revision] = await connection.run_sync(_step, revision)

    assert len(found) > 5
    assert {revision: problems for revision, problems in found.items() if problems} == {}


def _step(connection: Connection, revision: str) -> set[str]:
    before = facts(connection)
    config = steps._config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    return taken(before, facts(connection))


@pytest.mark.parametrize(("statement", "problem"), REFUSED.items())
async def test_step_that_would_break_the_program_before_it_is_found(
    owner: DBSessionManager, statement: str, problem: str
) -> None:
    """Whatever is taken away, renamed, changed, narrowed or written anew."""
    before, after = await _around(owner, statement)

    assert problem in taken(before, after)


@pytest.mark.parametrize("statement", ALLOWED)
async def test_step_that_only_adds_is_good(owner: DBSessionManager, statement: str) -> None:
    """Columns that may be left out, indexes, tables."""
    before, after = await _around(owner, statement)

    assert taken(before, after) == set()


async def _around(owner: DBSessionManager, statement: str) -> tuple[set[Fact], set[Fact]]:
    async with owner.make_connection() as connection:
        before = await connection.run_sync(facts)
        await connection.execute(text(statement))
        return before, await connection.run_sync(facts)
