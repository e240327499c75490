"""Several hosts: the one that takes writes is found, wherever it stands in the list."""

import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from denizen.db.embedded import EmbeddedServer
from denizen.db.errors import UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases


@pytest.fixture
def standby(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Run a server that is in recovery, as a demoted primary is."""
    chosen = os.environ.get("DENIZEN_TEST_POSTGRES_BIN")
    bin_dir = Path(chosen) if chosen else None
    found = EmbeddedServer.for_service(tmp_path, bin_dir=bin_dir, durable=False)
    found.start()
    found.stop()
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


def _url(*urls: str) -> str:
    parts = [urllib.parse.urlsplit(url) for url in urls]
    folders = [urllib.parse.parse_qs(part.query)["host"][0] for part in parts]
    first = parts[0]
    return f"postgresql://{first.username}@{first.path}?host={','.join(folders)}"
