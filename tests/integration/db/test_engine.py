"""Several hosts: the one that takes writes is found, wherever it stands in the list."""

import asyncio
import contextlib
import os
import urllib.parse
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from denizen.db.embedded import EmbeddedServer
from denizen.db.engine import DatabaseSettings
from denizen.db.errors import OutcomeUnknownError, UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases, superuser


@contextlib.contextmanager
def started(folder: Path) -> Iterator[EmbeddedServer]:
    """Run a server of its own."""
    chosen = os.environ.get("DENIZEN_TEST_POSTGRES_BIN")
    bin_dir = Path(chosen) if chosen else None
    found = EmbeddedServer.for_service(folder, bin_dir=bin_dir)
    found.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def standby(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Run a server that is in recovery, as a demoted primary is."""
    with started(tmp_path) as found:
        pass
    cluster = tmp_path / "postgres"
    (cluster / "standby.signal").touch()
    os.chown(cluster / "standby.signal", cluster.stat().st_uid, cluster.stat().st_gid)
    found.start()
    yield found
    found.stop()


async def test_standby_in_front_of_the_primary_is_passed_by(
    server: Databases, standby: EmbeddedServer
) -> None:
    """After a failover the first host is the standby: the next one is asked."""
    db = DBSessionManager(_url(standby.owner_url, server.owner_url))
    db.init()

    async with db.get_session() as session:
        assert await session.scalar(text("SELECT pg_is_in_recovery()")) is False
    await db.close_connections()


async def test_standbys_alone_are_out_of_reach(standby: EmbeddedServer) -> None:
    """While none is promoted yet, that is told as every other outage is."""
    db = DBSessionManager(_url(standby.owner_url, standby.owner_url))
    db.init()

    with pytest.raises(UnavailableError) as caught:
        async with db.get_session() as session:
            await session.execute(text("SELECT 1"))

    assert caught.value.connection_lost
    await db.close_connections()


@pytest.fixture
def replaced(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Run a primary whose standby hears of nothing any more: it was promoted."""

    async def wait_for_nobody(url: str) -> None:
        async with superuser(url) as operator:
            await operator.execute("ALTER SYSTEM SET synchronous_standby_names = 'gone'")
            await operator.execute("SELECT pg_reload_conf()")

    with started(tmp_path) as found:
        asyncio.run(wait_for_nobody(found.superuser_url))
        yield found


async def test_primary_that_lets_a_commit_wait_in_vain_is_asked_last(
    server: Databases, replaced: EmbeddedServer
) -> None:
    """It was replaced and never told: the other is found, also by who was connected already."""
    url = _url(replaced.owner_url, server.owner_url)
    db = DBSessionManager(DatabaseSettings(url=url, commit_timeout=timedelta(seconds=0.5)))
    db.init()

    async def is_there() -> bool:
        async with db.get_session(read_only=True) as session:
            waits = await session.scalar(text("SHOW synchronous_standby_names"))
            await session.execute(text("SELECT pg_sleep(0.1)"))
            return bool(waits == "gone")

    assert all(await asyncio.gather(*(is_there() for _ in range(3))))
    with pytest.raises(OutcomeUnknownError):
        async with db.get_session() as session:
            await session.execute(text("CREATE TABLE waited (id int)"))
    assert not any(await asyncio.gather(*(is_there() for _ in range(5))))
    await db.close_connections()


def _url(*urls: str) -> str:
    parts = [urllib.parse.urlsplit(url) for url in urls]
    folders = [urllib.parse.parse_qs(part.query)["host"][0] for part in parts]
    first = parts[0]
    return f"postgresql://{first.username}@{first.path}?host={','.join(folders)}"
