"""PgBouncer in transaction mode before the tests' PostgreSQL: the real one, if there is one."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from denizen.db.binaries import find_binaries, find_launch

SERVER_CONNECTIONS = 4
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_PORT = 6432  # the name of a socket


@contextlib.contextmanager
def pooling(server_url: str) -> Iterator[Path]:
    """Run it before a server reached by a socket; gives the folder of its own socket."""
    (behind,) = urllib.parse.parse_qs(urllib.parse.urlsplit(server_url).query)["host"]
    lines = [
        "[databases]",
        f"* = host={behind} port=5432",
        "[pgbouncer]",
        "pool_mode = transaction",
        f"default_pool_size = {SERVER_CONNECTIONS}",
        "max_client_conn = 200",
    ]
    with configured("\n".join(lines)) as folder:
        yield folder


@contextlib.contextmanager
def configured(settings: str) -> Iterator[Path]:
    """Run it with settings that end in the part `pgbouncer`; gives the folder of its socket.

    Raises:
        TimeoutError: it did not start with them.
    """
    chosen = os.environ.get("DENIZEN_TEST_POSTGRES_BIN")
    launch = find_launch(find_binaries(Path(chosen) if chosen else None))
    folder = Path(tempfile.mkdtemp(prefix="pooler-"))  # a socket's path has to be short
    users = folder / "users.txt"
    users.write_text('"denizen" ""\n"denizen_owner" ""\n', encoding="utf-8")
    config = folder / "pgbouncer.ini"
    config.write_text(f"{settings}\n{_own(folder, users)}", encoding="utf-8")
    launch.hand_over(folder, users, config)
    process: subprocess.Popen[Any] = subprocess.Popen(
        launch.guarded(PROGRAM or "pgbouncer", "-q", str(config)), **launch.options()
    )
    try:
        _wait(folder / f".s.PGSQL.{_PORT}", process)
        yield folder
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)


def through(folder: Path, url: str) -> str:
    """Give the same database and role, reached through the pooler."""
    parts = urllib.parse.urlsplit(url)
    return f"postgresql://{parts.username}@{parts.path}?host={folder}&port={_PORT}"


def _own(folder: Path, users: Path) -> str:
    lines = [
        "listen_addr =",
        f"listen_port = {_PORT}",
        f"unix_socket_dir = {folder}",
        "auth_type = trust",
        f"auth_file = {users}",
        f"logfile = {folder / 'log'}",
    ]
    return "\n".join(lines) + "\n"


def _wait(path: Path, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(path))
            return
        time.sleep(0.02)
    raise TimeoutError(f"PgBouncer does not answer (status {process.poll()})")
