"""Bringing the schema up to date: the steps under one lock, in one transaction, then the grants.

The revisions stand in `versions/`, one file each, which begins with its number; nothing here knows
what they do. What runs them is Alembic (`steps.py`), which takes as long to import as a query of a
million rows to answer: whoever only asks whether the schema is current does without.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from sqlalchemy import Connection, inspect, quoted_name, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from denizen.db.errors import is_missing_table
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
        return await _plan(connection)


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
        done = await _plan(connection)
        if done.steps:
            from denizen.migrations import steps  # noqa: PLC0415  # as the module's docstring says

            await connection.run_sync(steps.upgrade)
        await connection.run_sync(_grant, serving_role)
        return done


async def schema_is_current(engine: AsyncEngine) -> bool:
    """Whether the schema is at this program's revision; a later one counts, for rolling updates.

    Raises:
        UnavailableError: the database is out of reach, or the role has no rights.
    """
    return is_current(await schema_revision(engine))


def is_current(revision: str | None) -> bool:
    """Whether this program can work with a schema at that revision: its own, or a later one."""
    return revision is not None and (revision == head() or not is_known(revision))


def head() -> str:
    """Give the revision that this program works with."""
    return max(_known())


def is_known(revision: str) -> bool:
    """Whether this program knows a revision; one that it does not is of a later one."""
    return revision in _known()


async def schema_revision(engine: AsyncEngine) -> str | None:
    """Give the revision that the schema is at; None where there is none.

    Raises:
        UnavailableError: the database is out of reach, or the role has no rights.
    """
    with translating():
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            try:
                found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
            except DBAPIError as error:
                if not is_missing_table(error):
                    raise
                return None
        return None if found is None else str(found)


@cache
def _known() -> frozenset[str]:
    versions = (files("denizen") / "migrations" / "versions").iterdir()
    return frozenset(f.name.partition("_")[0] for f in versions if f.name[0].isdecimal())


async def _plan(connection: AsyncConnection) -> Plan:
    from denizen.migrations import steps  # noqa: PLC0415  # as the module's docstring says

    return await connection.run_sync(steps.plan)


def _grant(connection: Connection, role: str | None) -> None:
    if role is None:
        return
    preparer = connection.dialect.identifier_preparer
    quoted = preparer.quote(quoted_name(role, quote=True))
    schema = preparer.quote(inspect(connection).default_schema_name or "public")
    connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO {quoted}"))
    for thing, rights in _GRANTS.items():
        connection.execute(text(f"GRANT {rights} ON {thing} TO {quoted}"))
