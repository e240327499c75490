"""A pytest plugin: a real PostgreSQL for the tests, and a fresh database for each that asks.

Load it with `-p denizen.db.testing`. Override the fixture `schema` to give the template its tables;
each test's database is then a copy of the template, with real commits. A test that leaves rows
behind and nothing else has them taken away (some 40 ms), and the next one gets the same database;
what was altered in another way is dropped, and copied anew (some 300 ms). The server is embedded,
unsafe and fast, and ends with the run; `DENIZEN_TEST_POSTGRES_BIN` chooses other binaries.
"""

import asyncio
import contextlib
import os
import secrets
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from denizen.db.embedded import EmbeddedServer
from denizen.db.manager import DBSessionManager

Connection = Any  # of asyncpg, which has no types
Schema = Callable[["Databases", str], Awaitable[None]]
TEMPLATE: Final = "template_denizen"

# whatever is written to these is no row of a test's
_CATALOGS: Final = (
    "pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_default_acl", "pg_event_trigger",
    "pg_extension", "pg_index", "pg_namespace", "pg_policy", "pg_proc", "pg_rewrite",
    "pg_statistic", "pg_statistic_ext", "pg_trigger", "pg_type",
)  # fmt: skip
_TABLES: Final = """
SELECT format('%I.%I', nspname, relname) AS name, pg_relation_size(c.oid) > 0 AS is_filled
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
"""
_ITSELF: Final = """
SELECT ARRAY[xmin::text, (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = d.oid)::text]
FROM pg_database d WHERE datname = current_database()
"""
_END_OTHERS: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Databases:
    """URLs on the tests' server: for the superuser, the owning role and the serving role."""

    superuser_url: str
    owner_url: str
    app_url: str

    def on(self, name: str) -> "Databases":
        """Give the URLs of another database."""
        urls = (self.superuser_url, self.owner_url, self.app_url)
        return Databases(
            *(urllib.parse.urlsplit(url)._replace(path=f"/{name}").geturl() for url in urls)
        )

    async def run(self, sql: str) -> None:
        """Run SQL as the superuser, outside any transaction."""
        async with self.connected() as connection:
            await connection.execute(sql)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """Connect as the superuser."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.superuser_url).query)
        parts = urllib.parse.urlsplit(self.superuser_url)
        connection = await asyncpg.connect(
            host=query["host"][0], user=parts.username, database=parts.path.lstrip("/")
        )
        try:
            yield connection
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Run a PostgreSQL for this test process."""
    chosen = os.environ.get("DENIZEN_TEST_POSTGRES_BIN")
    embedded = EmbeddedServer.for_service(
        tmp_path_factory.mktemp("database"),
        bin_dir=Path(chosen) if chosen else None,
        durable=False,
    )
    embedded.start()
    try:
        yield Databases(embedded.superuser_url, embedded.owner_url, embedded.app_url)
    finally:
        embedded.stop()


@pytest.fixture(scope="session")
def schema() -> Schema:
    """Give what fills the template; override it with your migrations."""

    async def nothing(_databases: Databases, _url: str) -> None:
        return

    return nothing


@pytest.fixture(scope="session")
def template(server: Databases, schema: Schema) -> str:
    """Make the template database once."""

    async def make() -> None:
        await server.run(f"CREATE DATABASE {TEMPLATE} OWNER denizen_owner")
        await schema(server.on(TEMPLATE), server.on(TEMPLATE).owner_url)

    asyncio.run(make())
    return TEMPLATE


@contextlib.asynccontextmanager
async def copy_of(server: Databases, template: str) -> AsyncIterator[Databases]:
    """Give a fresh copy of a database: of `template0`, an empty one."""
    name = await _copy(server, template)
    yield server.on(name)
    await _drop(server, name)


@pytest.fixture(scope="session")
def clean_copies() -> list["_Copy"]:
    """Keep the copies of the template that a test has left as it found them."""
    return []


@pytest.fixture
async def databases(
    server: Databases, template: str, clean_copies: list["_Copy"]
) -> AsyncIterator[Databases]:
    """Give a database as the template is, for one test."""
    copy = clean_copies.pop() if clean_copies else await _Copy.of(server, template)
    yield copy.databases
    if await copy.clean():
        clean_copies.append(copy)
    else:
        await _drop(server, copy.name)


@dataclass
class _Copy:
    """A copy of the template, and the mark by which it is known that only rows came and went.

    Attributes:
        databases: its URLs.
        name: of the database.
        kept: tables that have rows in the template, and keep them.
        emptied: the other ones.
        mark: see `read_mark`.
    """

    databases: Databases
    name: str
    kept: list[str]
    emptied: list[str]
    mark: object = None

    @classmethod
    async def of(cls, server: Databases, template: str) -> "_Copy":
        """Make one."""
        name = await _copy(server, template)
        databases = server.on(name)
        async with databases.connected() as connection:
            tables = await connection.fetch(_TABLES)
            kept = [table["name"] for table in tables if table["is_filled"]]
            emptied = [table["name"] for table in tables if not table["is_filled"]]
            copy = cls(databases, name, kept, emptied)
            copy.mark = await copy.read_mark(connection)
        return copy

    async def clean(self) -> bool:
        """Take the rows away; tell whether the copy is then as it was."""
        try:
            async with self.databases.connected() as connection:
                await connection.execute(_END_OTHERS)
                if await self.read_mark(connection) != self.mark:
                    return False
                tables = await connection.fetch(_TABLES)
                if {table["name"] for table in tables if table["is_filled"]} - {*self.kept}:
                    await connection.execute("SET lock_timeout = '5s'")
                    emptied = ", ".join(self.emptied)
                    await connection.execute(f"TRUNCATE {emptied} RESTART IDENTITY")
                    self.mark = await self.read_mark(connection)
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    async def read_mark(self, connection: Connection) -> object:
        """Give what changes with the schema, and with the rows that the template has."""
        marks = [
            f"SELECT {number}, count(*), max(xmin::text::bigint) FROM {table}"  # noqa: S608  # own names
            for number, table in enumerate([*_CATALOGS, *self.kept])
        ]
        told = await connection.fetch(f"{' UNION ALL '.join(marks)} ORDER BY 1")
        return told, await connection.fetchval(_ITSELF)


async def _copy(server: Databases, template: str) -> str:
    name = f"test_{secrets.token_hex(8)}"
    # nothing is synced here, so copying files is less work than writing each page to the log
    options = f"TEMPLATE {template} OWNER denizen_owner STRATEGY file_copy"
    await server.run(f"CREATE DATABASE {name} {options}")
    return name


async def _drop(server: Databases, name: str) -> None:
    await server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def manager(databases: Databases) -> AsyncIterator[DBSessionManager]:
    """Give a started session manager of the serving role."""
    found = DBSessionManager(databases.app_url)
    found.init()
    yield found
    await found.close_connections()
