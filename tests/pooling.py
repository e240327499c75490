"""PgBouncer in transaction mode before the tests' PostgreSQL: the real one, if there is one."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from denizen.db.binaries import find_binaries, find_launch

SERVER_CONNECTIONS = 4
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_PORT = 6432  # the name of a socket


class Pooler:
    """PgBouncer, which may be started again and again.

    Args:
        settings: a configuration that ends in the part `pgbouncer`.
    """

    def __init__(self, settings: str) -> None:
        chosen = os.environ.get("DENIZEN_TEST_POSTGRES_BIN")
        self._launch = find_launch(find_binaries(Path(chosen) if chosen else None))
        self.folder = Path(tempfile.mkdtemp(prefix="pooler-"))  # a socket's path has to be short
        users = self.folder / "users.txt"
        users.write_text('"denizen" ""\n"denizen_owner" ""\n', encoding="utf-8")
        self._config = self.folder / "pgbouncer.ini"
        self._config.write_text(f"{settings}\n{_own(self.folder, users)}", encoding="utf-8")
        self._launch.hand_over(self.folder, users, self._config)

    @classmethod
    def before(
        cls, server_url: str, *, size: int = SERVER_CONNECTIONS, more: Sequence[str] = ()
    ) -> "Pooler":
        """Make one in transaction mode before a server reached by a socket.

        Args:
            server_url: of the server.
            size: how many of its connections all who use one database as one role share.
            more: lines of the configuration.
        """
        (behind,) = urllib.parse.parse_qs(urllib.parse.urlsplit(server_url).query)["host"]
        lines = [
            "[databases]",
            f"* = host={behind} port=5432",
            "[pgbouncer]",
            "pool_mode = transaction",
            f"default_pool_size = {size}",
            "max_client_conn = 200",
            *more,
        ]
        return cls("\n".join(lines))

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            TimeoutError: it did not start with its settings.
        """
        socket_path = self.folder / f".s.PGSQL.{_PORT}"
        socket_path.unlink(missing_ok=True)  # of one that was killed
        self._process: subprocess.Popen[Any] = subprocess.Popen(
            self._launch.guarded(PROGRAM or "pgbouncer", "-q", str(self._config)),
            **self._launch.options(),
        )
        _wait(socket_path, self._process)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to go, and wait until it is gone; newer ones wait for their clients."""
        self._process.send_signal(number)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def pooling(server_url: str) -> Iterator[Path]:
    """Run it before a server reached by a socket; gives the folder of its own socket."""
    with pooled(Pooler.before(server_url)) as pooler:
        yield pooler.folder


@contextlib.contextmanager
def pooled(pooler: Pooler) -> Iterator[Pooler]:
    """Run it until the block ends."""
    try:
        pooler.start()
        yield pooler
    finally:
        pooler.end()
        shutil.rmtree(pooler.folder)


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
