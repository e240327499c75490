"""A pytest plugin: a real PostgreSQL for the tests, and a fresh database for each that asks.

Load it with `-p denizen.db.testing`. Override the fixture `schema` to give the template its tables;
each test's database is then a copy of the template (some 50 ms), with real commits, dropped at the
end. The server is embedded, unsafe and fast, and ends with the run;
`DENIZEN_TEST_POSTGRES_BIN` chooses other binaries.
"""

import asyncio
import contextlib
import os
import secrets
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from denizen.db.embedded import EmbeddedServer
from denizen.db.manager import DBSessionManager

Schema = Callable[["Databases", str], Awaitable[None]]
TEMPLATE = "template_denizen"


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
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.superuser_url).query)
        parts = urllib.parse.urlsplit(self.superuser_url)
        connection = await asyncpg.connect(
            host=query["host"][0], user=parts.username, database=parts.path.lstrip("/")
        )
        try:
            await connection.execute(sql)
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
    name = f"test_{secrets.token_hex(8)}"
    # nothing is synced here, so copying files is less work than writing each page to the log
    options = f"TEMPLATE {template} OWNER denizen_owner STRATEGY file_copy"
    await server.run(f"CREATE DATABASE {name} {options}")
    yield server.on(name)
    await server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def databases(server: Databases, template: str) -> AsyncIterator[Databases]:
    """Give a fresh copy of the template for one test."""
    async with copy_of(server, template) as found:
        yield found


@pytest.fixture
async def manager(databases: Databases) -> AsyncIterator[DBSessionManager]:
    """Give a started session manager of the serving role."""
    found = DBSessionManager(databases.app_url)
    found.init()
    yield found
    await found.close_connections()
