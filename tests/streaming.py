"""A primary and a standby that follows it: two real PostgreSQL servers on this machine."""

import asyncio
import contextlib
import os
import signal
import subprocess
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.db.embedded import EmbeddedServer
from denizen.db.manager import DBSessionManager
from denizen.db.testing import superuser
from denizen.migrations import migrate
from faults.nemeses import postmaster

# a standby that is promoted may be asleep between two looks for more to replay
_EAGER = "wal_retrieve_retry_interval = '200ms'\n"


@dataclass(frozen=True, slots=True)
class Pair:
    """The two servers, and how they are reached."""

    primary: EmbeddedServer
    standby: EmbeddedServer

    @property
    def both_url(self) -> str:
        """URL of the serving role on whichever of the two is the primary, the standby first."""
        hosts = [_socket_of(server.app_url) for server in (self.standby, self.primary)]
        return f"postgresql://denizen@/denizen?host={','.join(hosts)}"

    def kill_primary(self) -> None:
        """End the primary without a word, and keep it from being started again."""
        self.primary._stopping.set()
        os.kill(postmaster(self.primary), signal.SIGKILL)

    def promote(self) -> None:
        """Make the standby the primary."""
        assert _ask(self.standby, "SELECT pg_promote(true, 30)") is True

    def pause_replay(self) -> None:
        """Have the standby show things as they are now, whatever happens."""
        _ask(self.standby, "SELECT pg_wal_replay_pause()")

    def resume_replay(self) -> None:
        """Have it go on."""
        _ask(self.standby, "SELECT pg_wal_replay_resume()")

    async def catch_up(self) -> None:
        """Wait until the standby shows what the primary has written by now."""
        async with superuser(self.primary.superuser_url) as primary:
            written = await primary.fetchval("SELECT pg_current_wal_lsn()::text")
        async with superuser(self.standby.superuser_url) as standby, asyncio.timeout(20):
            query = f"SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"
            while not await standby.fetchval(query):  # noqa: ASYNC110  # PostgreSQL has no event
                await asyncio.sleep(0.01)


@contextlib.contextmanager
def streaming(folder: Path, *, synchronous: bool = False) -> Iterator[Pair]:
    """Run the two, migrated; synchronous: what is acknowledged is on both."""
    primary = EmbeddedServer.for_service(folder / "primary")
    primary.start()
    try:
        asyncio.run(_migrate(primary.owner_url))
        _copy(primary, folder / "standby")
        standby = EmbeddedServer.for_service(folder / "standby")
        standby.start()
        try:
            if synchronous:
                _synchronise(primary)
            yield Pair(primary, standby)
        finally:
            standby.stop()
    finally:
        primary.stop()


def _copy(primary: EmbeddedServer, folder: Path) -> None:
    """Make the standby's cluster, as whoever runs PostgreSQL here."""
    launch, cluster = primary._launch, folder / "postgres"
    folder.mkdir(mode=0o700)
    if launch.user is not None:
        folder.parent.chmod(0o711)
    launch.hand_over(folder)
    where = ["-h", _socket_of(primary.app_url), "-U", "postgres", "-D", str(cluster)]
    how = ["-R", "-X", "stream", "-c", "fast", "-C", "-S", "standby", "--no-sync"]
    command = launch.command(primary.binaries["pg_basebackup"], *where, *how)
    subprocess.run(command, check=True, capture_output=True, **launch.options())
    with (cluster / "postgresql.auto.conf").open("a", encoding="utf-8") as conf:
        conf.write(_EAGER)


def _synchronise(primary: EmbeddedServer) -> None:
    async def run() -> None:
        async with superuser(primary.superuser_url) as connection, asyncio.timeout(20):
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await connection.execute("SELECT pg_reload_conf()")
            query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            while not await connection.fetchval(query):  # noqa: ASYNC110  # PostgreSQL has no event
                await asyncio.sleep(0.01)

    asyncio.run(run())


async def _migrate(owner_url: str) -> None:
    db = DBSessionManager(owner_url)
    db.init()
    try:
        await migrate(db, serving_role="denizen")
    finally:
        await db.close_connections()


def _ask(server: EmbeddedServer, query: str) -> Any:
    async def ask() -> Any:
        async with superuser(server.superuser_url) as connection:
            return await connection.fetchval(query)

    return asyncio.run(ask())


def _socket_of(url: str) -> str:
    return urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["host"][0]
