"""The schema and every statement are such that the same program runs on one box and a cluster."""

import shutil
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.users.model import UserModel
from distribution import EVERYWHERE, OF_EVERYBODY, PER_USER, Watch, problem_of
from support import PASSWORD, Api, a_user

PSQL: Final = shutil.which("psql")
DEPLOY: Final = Path(__file__).parents[2] / "deploy"
# on plain PostgreSQL the tables stay where they are
_STUBS: Final = """
CREATE FUNCTION create_reference_table(text) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION create_distributed_table(text, text, colocate_with text DEFAULT '') RETURNS void
LANGUAGE sql AS 'SELECT'
"""
# queues, and what belongs to nobody: on the coordinator
LOCAL: Final = frozenset(
    {
        "outbox",
        "idempotency_keys",
        "api_keys",
        "throttles",
        "imports",
        "import_refusals",
        "alembic_version",
    }
)
_TABLES: Final = """
SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
"""
_KEYS: Final = """
SELECT c.relname, x.relname, i.indisprimary, (
    SELECT array_agg(a.attname::text ORDER BY k.place)
    FROM unnest(i.indkey::int[]) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
) AS columns
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace
"""
_FOREIGN: Final = """
SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'public'::regnamespace
"""
_MORE: Final = """
SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'sequence ' || relname FROM pg_class
WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace
"""


async def _rows(databases: Databases, query: str) -> list[tuple[Any, ...]]:
    async with superuser(databases.superuser_url) as connection:
        return [tuple(row) for row in await connection.fetch(query)]


async def test_every_table_has_its_place(databases: Databases) -> None:
    """On every node, by user, or on the coordinator: a new one has to be given one."""
    assert {name for (name,) in await _rows(databases, _TABLES)} == PER_USER | EVERYWHERE | LOCAL
    assert {"users"} == EVERYWHERE


async def test_keys_of_a_users_things_begin_with_the_user(databases: Databases) -> None:
    """The primary key begins with it, and no other unique key goes without it."""
    keys = [row for row in await _rows(databases, _KEYS) if row[0] in PER_USER]

    assert {row[0] for row in keys if row[2]} == PER_USER
    assert [row[1] for row in keys if row[3][0] != "user_id"] == []


async def test_foreign_keys_lead_to_users_or_stay_on_the_coordinator(databases: Databases) -> None:
    """No row of one node depends on another node's."""
    for table, target in await _rows(databases, _FOREIGN):
        assert target in EVERYWHERE or {table, target} <= LOCAL, (table, target)


async def test_there_is_no_trigger_and_no_sequence(databases: Databases) -> None:
    """A trigger fires on one node, and numbers would be handed out by one."""
    assert await _rows(databases, _MORE) == []


@pytest.mark.skipif(PSQL is None, reason="there is no psql on this machine")
async def test_functions_of_the_layout_remove_what_the_migrations_remove(
    databases: Databases,
) -> None:
    """Events from before the instant and not at it, however often the layout is run."""
    until = datetime.now(UTC).replace(microsecond=0) - timedelta(days=40)
    bound = int(until.timestamp() * 1000) << 80
    left = []
    async with superuser(databases.superuser_url) as owner:
        for is_laid_out in (False, True):
            await owner.execute("TRUNCATE audit_events")
            await owner.executemany(
                "INSERT INTO audit_events (user_id, id, action, actor_kind, before, after)"
                " VALUES ($1, $1, 'user.created', 'operator', '{}', '{}')",
                [(uuid.UUID(int=bound + step),) for step in (-2, -1, 0, 1)],
            )
            if is_laid_out:
                await owner.execute(_STUBS)
                _run("citus.sql", databases.owner_url)
                _run("citus-functions.sql", databases.owner_url)
            gone = await owner.fetchval("SELECT audit_purge($1)", until)
            rows = await owner.fetch("SELECT id FROM audit_events ORDER BY id")
            left.append((gone, [row["id"].int - bound for row in rows]))

    assert left == [(2, [0, 1])] * 2


@pytest.mark.skipif(PSQL is None, reason="there is no psql on this machine")
async def test_functions_of_the_layout_look_where_the_migrations_made_the_tables(
    databases: Databases,
) -> None:
    """Whatever that schema is called."""
    async with superuser(databases.superuser_url) as owner:
        await owner.execute('ALTER SCHEMA public RENAME TO "Our people"')
        name = await owner.fetchval("SELECT quote_ident(current_database())")
        await owner.execute(f"ALTER DATABASE {name} SET search_path TO 'Our people'")
        _run("citus-functions.sql", databases.owner_url)
        found = await owner.fetchval("SELECT proconfig FROM pg_proc WHERE proname = 'audit_purge'")

    assert found == ['search_path="Our people", pg_temp']


def _run(script: str, url: str) -> None:
    options = ["--no-psqlrc", "--quiet", "--single-transaction", "--set", "serving=denizen"]
    command = [PSQL or "psql", *options, "--file", str(DEPLOY / script), url]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sessions.id FROM sessions WHERE sessions.token_digest = $1",
        "SELECT tokens.email FROM tokens WHERE tokens.purpose = $1 FOR UPDATE SKIP LOCKED",
        "UPDATE sessions SET last_seen_at=$1 WHERE sessions.id = $2",
        "DELETE FROM known_networks WHERE known_networks.network = $1",
        "INSERT INTO tokens (token_digest, purpose) VALUES ($1, $2)",
        "SELECT users.id FROM users JOIN sessions ON sessions.id = users.id WHERE users.id = $1",
        # whose it is has to be said: of a row of users that is found by its address nobody knows
        "SELECT EXISTS (SELECT * FROM tokens WHERE tokens.user_id = users.id) FROM users",
    ],
)
def test_statement_over_everybody_is_found(sql: str) -> None:
    """Whatever it does: the check sees it."""
    assert problem_of(sql) is not None


@pytest.fixture
def heard(watch: Watch) -> set[str]:
    """Give what is heard from here on; asked for before the service, which makes reads at once."""
    watch.heard.clear()
    return watch.heard


async def test_statements_of_an_account_are_heard(
    heard: set[str], denizen: Denizen[UserModel], admin: Api, anonymous: Api
) -> None:
    """The watch is awake: among what it hears are the reads of every request and the writes."""
    user = await a_user(denizen, password=PASSWORD)
    api = await anonymous.signed_in(user.email, PASSWORD)
    assert (await api.get("/v1/me/sessions")).status_code == 200
    assert (await admin.get("/v1/audit-events")).status_code == 200

    said = {" ".join(sql.split()) for sql in heard}
    for table in ("sessions", "known_networks", "audit_events"):
        assert any(f"INTO {table} " in sql for sql in said), table
        assert any(f"FROM {table}" in sql for sql in said), table


def test_every_exception_has_its_reason() -> None:
    """Who adds one says why."""
    assert all(len(reason) > 10 for reason in OF_EVERYBODY.values())
