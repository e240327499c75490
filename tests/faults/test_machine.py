"""F29, F30, F32: the machine itself: full disks, a clock that jumps. In full runs alone."""

import asyncio
import contextlib
import re
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest

from denizen.db.embedded import EmbeddedServer
from denizen.db.testing import superuser
from faults.disks import AS_ROOT, small_disk
from faults.disks import fill as fill_up
from faults.report import IN_FULL
from faults.stage import Running, Stage, embedded, fill, served, sign_in
from support import PASSWORD

SMALL = 48  # MiB
LOG = 96  # MiB: some segments of PostgreSQL's log
FULL = 15  # seconds
SESSION_LIFE = timedelta(days=30)
_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))

pytestmark = IN_FULL


@contextlib.contextmanager
def _on(disk: Path, folder: Path) -> Iterator[Running]:
    """Run a service whose tables are on that disk."""
    server = embedded(folder / "database")
    server.start()
    try:
        asyncio.run(fill(server, folder))
        asyncio.run(_move(server.superuser_url, disk))
        with served(folder, server.app_url) as (service, metrics):
            yield Running(server, service, metrics, sign_in(service), folder)
    finally:
        server.stop()


async def _move(url: str, disk: Path) -> None:
    elsewhere = urllib.parse.urlsplit(url)._replace(path="/postgres").geturl()
    async with superuser(elsewhere) as operator:
        await operator.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
        await operator.execute("ALTER DATABASE denizen SET TABLESPACE small")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Run a service on a small disk."""
    with small_disk(tmp_path / "disk", SMALL) as disk, _on(disk, tmp_path) as found:
        yield found


@AS_ROOT
async def test_f29_full_disk_refuses_and_goes_on_once_there_is_room(running: Running) -> None:
    """Writes are refused, reads are answered, nothing told is lost, nobody has to do anything."""
    filler = running.folder / "disk" / "filler"
    async with running.loaded(clients=12, pace=0.0) as load:
        await load.until(50)
        load.recorder.mark("fault")
        fill_up(filler)
        await asyncio.sleep(FULL)
        told = [one.told for one in load.recorder.tries() if one.outcome == "fail"]
        reads = [one for one in load.recorder.tries() if one.kind == "read" and one.told][-20:]
        filler.unlink()
        load.recorder.mark("healed")
        await load.until(50)

    await running.measure(
        load, "F29", f"the database's disk full for {FULL} s", "503, reads go on; heals by itself"
    )
    assert "503 database_unavailable" in told
    assert {one.outcome for one in reads} == {"ok"}


@pytest.fixture
def logging(tmp_path: Path) -> Iterator[Running]:
    """Run a service whose PostgreSQL has its log on a small disk."""
    with small_disk(tmp_path / "disk", LOG) as disk:
        server = embedded(tmp_path / "database")
        server.start()
        try:
            asyncio.run(fill(server, tmp_path))
            server.stop()
            _move_log(server, disk / "log")
            server.start()
            with served(tmp_path, server.app_url) as (service, metrics):
                yield Running(server, service, metrics, sign_in(service), tmp_path)
        finally:
            server.stop()


def _move_log(server: EmbeddedServer, log: Path) -> None:
    server._launch.hand_over(log.parent)
    here = server._cluster / "pg_wal"
    subprocess.run(["mv", str(here), str(log)], check=True)  # whoever's it was, it stays theirs
    here.symlink_to(log)


@AS_ROOT
async def test_f30_full_disk_of_the_log_ends_postgres_and_loses_nothing(logging: Running) -> None:
    """PostgreSQL panics, again and again, until there is room; then all goes on by itself."""
    filler = logging.folder / "disk" / "filler"
    async with logging.loaded(give_up=60) as load:
        await load.until(20)
        load.recorder.mark("fault")
        until = time.monotonic() + FULL
        while time.monotonic() < until:
            fill_up(filler)  # what a recovery has freed, too
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                async with superuser(logging.server.superuser_url) as operator:
                    await operator.execute("SELECT pg_switch_wal()")  # the next piece of the log
            await asyncio.sleep(0.2)
        filler.unlink()
        load.recorder.mark("healed")
        await load.until(20, patience=60)

    measured = await logging.measure(
        load, "F30", f"the log's disk full for {FULL} s", "503 while PostgreSQL is down; heals"
    )
    said = (logging.folder / "database" / "postgres.log").read_text("utf-8")
    assert re.search(r"(PANIC|FATAL):.*(No space left|pg_wal)", said)
    assert "503 database_unavailable" in {one.told for one in load.recorder.tries()}
    assert measured.gap < FULL + 15


@pytest.mark.skipif(not _LIBRARIES, reason="there is no libfaketime on this machine")
async def test_f32_clock_that_jumps_decides_nothing(stage: Stage, tmp_path: Path) -> None:
    """Hours and years, back and forth, of the service's clock alone: the database's counts."""
    told = tmp_path / "clock"
    told.write_text("+0")
    faked = {
        "LD_PRELOAD": str(_LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(told),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    url = f"postgresql://denizen@127.0.0.1:{stage.proxy.port}/denizen?sslmode=disable"
    with served(tmp_path, url, **faked) as (service, _):
        where = f"http://127.0.0.1:{service.port}"
        async with (
            stage.loaded(url=where) as load,
            httpx.AsyncClient(base_url=where, timeout=30) as client,
        ):
            await load.until(10)
            load.recorder.mark("fault")
            for jump in ("+1h", "-1h", "+400d", "-400d", "+0"):
                told.write_text(jump)
                await load.until(20)
                body = {"email": "root@example.com", "password": PASSWORD}
                answer = await client.post("/v1/sessions", json=body)
                life = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)
                assert abs(life - SESSION_LIFE) < timedelta(minutes=1), jump
            load.recorder.mark("healed")
            await load.until(10)

    await stage.measure(
        load, "F32", "the clock ±1 h, ±400 days", "sessions live as long as the database says"
    )
