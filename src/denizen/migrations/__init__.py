"""Bringing the schema up to date: Alembic under one lock, in one transaction, then the grants.

The revisions stand in `versions/`; nothing here knows what they do.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, quoted_name, text
from sqlalchemy.ext.asyncio import AsyncEngine

from denizen.db.manager import DBSessionManager, translating

# any number of our own; two runs of `migrate` wait for each other on it
_LOCK: Final = 7_236_174_913
# what the serving role may do; events of the audit it may add and read, never change
_GRANTS: Final = {
    "TABLE users": "SELECT, INSERT, UPDATE, DELETE",
    "TABLE sessions": "SELECT, INSERT, UPDATE, DELETE",
    "TABLE known_networks": "SELECT, INSERT, UPDATE, DELETE",
    "TABLE tokens": "SELECT, INSERT, DELETE",
    "TABLE outbox": "SELECT, INSERT, UPDATE, DELETE",
    "TABLE idempotency_keys": "SELECT, INSERT, UPDATE, DELETE",
    "TABLE api_keys": "SELECT, INSERT, UPDATE",
    "TABLE audit_events": "SELECT, INSERT",
    "TABLE throttles": "SELECT, INSERT, UPDATE, DELETE",
    "TABLE imports": "SELECT, INSERT, UPDATE",
    "TABLE import_refusals": "SELECT, INSERT, DELETE",
    "TABLE alembic_version": "SELECT",
    "FUNCTION audit_blank(uuid)": "EXECUTE",
    "FUNCTION audit_purge(timestamptz)": "EXECUTE",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the schema is, where it should be, and the steps between, oldest first."""

    current: str | None
    head: str
    steps: tuple[str, ...]


async def plan(db: DBSessionManager) -> Plan:
    """Look at the schema, change nothing.

    Raises:
        UnavailableError: the database is out of reach.
    """
    async with db.make_connection() as connection:
        return await connection.run_sync(_plan)


async def migrate(db: DBSessionManager, *, serving_role: str | None = None) -> Plan:
    """Bring the schema up to date and give what was done; all of it or nothing.

    Args:
        db: connects as the role that owns the schema.
        serving_role: the role that serves, when it is another: it gets what it needs, no more.

    Raises:
        UnavailableError: the database is out of reach.
    """
    async with db.make_connection() as connection:
        # a schema change may take longer than a request may
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        done = await connection.run_sync(_plan)
        await connection.run_sync(_upgrade)
        await connection.run_sync(_grant, serving_role)
        return done


async def schema_is_current(engine: AsyncEngine) -> bool:
    """Whether the schema is at this program's revision; a later one counts, for rolling updates.

    Raises:
        UnavailableError: the database is out of reach, or the role has no rights.
    """
    with translating():
        async with engine.connect() as connection:
            known = _scripts()
            current = (await connection.run_sync(_plan)).current
        return current is not None and (current == head(known) or not _is_known(known, current))


def head(scripts: ScriptDirectory | None = None) -> str:
    """Give the revision that this program works with."""
    found = (scripts or _scripts()).get_current_head()
    if found is None:
        raise LookupError("the package holds no migrations")
    return found


def is_known(revision: str) -> bool:
    """Whether this program knows a revision; one that it does not is of a later one."""
    return _is_known(_scripts(), revision)


def _plan(connection: Connection) -> Plan:
    scripts = _scripts()
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and not _is_known(scripts, current):
        return Plan(current, head(scripts), ())  # a newer program was here
    steps = [s for s in scripts.iterate_revisions("head", current or "base") if s is not None]
    names = tuple(f"{step.revision} {step.doc}" for step in reversed(steps))
    return Plan(current, head(scripts), names)


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    if _plan(connection).steps:
        command.upgrade(config, "head")


def _grant(connection: Connection, role: str | None) -> None:
    if role is None:
        return
    preparer = connection.dialect.identifier_preparer
    quoted = preparer.quote(quoted_name(role, quote=True))
    schema = preparer.quote(inspect(connection).default_schema_name or "public")
    connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO {quoted}"))
    for thing, rights in _GRANTS.items():
        connection.execute(text(f"GRANT {rights} ON {thing} TO {quoted}"))


def _is_known(scripts: ScriptDirectory, revision: str) -> bool:
    return any(script.revision == revision for script in scripts.walk_revisions())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Any:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
