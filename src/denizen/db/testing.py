"""A pytest plugin: a real PostgreSQL for the tests, and a fresh database for each that asks.

Load it with `-p denizen.db.testing`. Override the fixture `schema` to give the template its tables;
each test's database is then a copy of the template, with real commits. Where a test leaves rows
behind and nothing else, they are taken away, and the next one gets the same database under another
name: that is a fraction of the work of copying. What was altered in another way is dropped. The
server is embedded, unsafe and fast, and ends with the run; `DENIZEN_TEST_POSTGRES_BIN` chooses
other binaries.
"""

import asyncio
import contextlib
import os
import secrets
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from denizen.db.embedded import EmbeddedServer
from denizen.db.manager import DBSessionManager

Schema = Callable[["Databases", str], Awaitable[None]]
TEMPLATE: Final = "template_denizen"

# tables whose rows are a schema's, and those that have rows themselves
_CATALOGS: Final = """
SELECT oid::regclass::text FROM pg_class
WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared
"""
_TABLES: Final = """
SELECT format('%I.%I', nspname, relname) AS name, pg_relation_size(c.oid) > 0 AS is_filled
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
"""
_ITSELF: Final = """
SELECT (to_jsonb(d) - ARRAY['datname', 'datfrozenxid', 'datminmxid'])::text,
(SELECT json_agg(s)::text FROM pg_db_role_setting s WHERE setdatabase = d.oid)
FROM pg_database d WHERE datname = current_database()
"""
_SEQUENCES: Final = "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"


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
        async with superuser(self.superuser_url) as connection:
            await connection.execute(sql)


@contextlib.asynccontextmanager
async def superuser(url: str) -> AsyncIterator[Any]:
    """Open a driver's connection of its own, beside whatever is tested.

    Untyped: by the driver's types every row and value may be None.
    """
    parts = urllib.parse.urlsplit(url)
    (host,) = urllib.parse.parse_qs(parts.query).get("host", [parts.hostname])
    database, user = parts.path.lstrip("/"), parts.username
    connection = await asyncpg.connect(host=host, port=parts.port, user=user, database=database)
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
    """Keep the copies of the template that a test has left as it found them, but for rows."""
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
        await copy.drop()


@dataclass
class _Copy:
    """A copy of the template, and the mark by which it is known that only rows came and went.

    Attributes:
        server: where it is.
        name: of the database.
        kept: tables that have rows in the template, and keep them.
        emptied: the other ones.
        mark: see `read_mark`.
        sequences: how far they are.
    """

    server: Databases
    name: str
    kept: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    mark: object = None
    sequences: object = None

    @classmethod
    async def of(cls, server: Databases, template: str) -> "_Copy":
        """Make one."""
        copy = cls(server, await _copy(server, template))
        async with superuser(copy.databases.superuser_url) as connection:
            for table in await connection.fetch(_TABLES):
                (copy.kept if table["is_filled"] else copy.emptied).append(table["name"])
            copy.mark = await copy.read_mark(connection)
            copy.sequences = await connection.fetch(_SEQUENCES)
        return copy

    @property
    def databases(self) -> Databases:
        """Its URLs."""
        return self.server.on(self.name)

    async def clean(self) -> bool:
        """Take the rows away; tell whether the copy is then as it was, under another name.

        What the test left running does not find it any more.
        """
        try:
            await self.rename()
            async with superuser(self.databases.superuser_url) as connection:
                await connection.execute("SET lock_timeout = '5s'")
                if await self.read_mark(connection) != self.mark:
                    return False
                tables = await connection.fetch(_TABLES)
                if {table["name"] for table in tables if table["is_filled"]} - {*self.kept}:
                    # of the schema's triggers none is for this
                    await connection.execute("SET session_replication_role = replica")
                    emptied = ", ".join(self.emptied)
                    await connection.execute(f"TRUNCATE {emptied} RESTART IDENTITY")
                    self.mark = await self.read_mark(connection)
                return bool(await connection.fetch(_SEQUENCES) == self.sequences)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False

    async def rename(self) -> None:
        """End what is connected, and give another name, which waits until it has ended."""
        new = _new_name()
        async with superuser(self.server.superuser_url) as connection:
            ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
            await connection.execute(ending, self.name)
            await connection.execute(f"ALTER DATABASE {self.name} RENAME TO {new}")
        self.name = new

    async def drop(self) -> None:
        """Remove it."""
        await _drop(self.server, self.name)

    async def read_mark(self, connection: Any) -> object:
        """Give what changes with the schema, and with the rows that the template has."""
        catalogs = [row[0] for row in await connection.fetch(_CATALOGS)]
        marks = [
            f"SELECT '{table}', count(*), max(xmin::text::bigint) FROM {table}"  # noqa: S608  # names
            for table in [*catalogs, *self.kept]
        ]
        told = await connection.fetch(f"{' UNION ALL '.join(marks)} ORDER BY 1")
        return told, await connection.fetchrow(_ITSELF)


def _new_name() -> str:
    return f"test_{secrets.token_hex(8)}"


async def _copy(server: Databases, template: str) -> str:
    name = _new_name()
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
