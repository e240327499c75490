"""The embedded database: a PostgreSQL of our own in the data folder, owned by one process.

`serve` owns the server as long as it runs; a command uses that one, or runs one for itself. Reached
through a Unix socket in a folder that only this user can enter, never over TCP. Where the programs
come from stands in `binaries.py`; nothing here knows of users or of a schema.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal, Self

import asyncpg

from denizen.db.binaries import (
    Binaries,
    EmbeddedDatabaseError,
    Launch,
    find_binaries,
    find_launch,
)

__all__ = [
    "DATABASE",
    "EmbeddedDatabaseError",
    "EmbeddedServer",
    "EmbeddedUrls",
    "use_embedded",
]

Kind = Literal["serve", "command"]

DATABASE: Final = "denizen"
CLUSTER: Final = "postgres"  # in the data folder
NEW: Final = "postgres-new-"  # what is being made beside it
READY: Final = "postgres-ready"  # what only has to be put into its place
OWNER: Final = "denizen_owner"
SERVING: Final = "denizen"
_SOCKET_NAME: Final = ".s.PGSQL.5432"
_LONGEST_SOCKET: Final = 103  # bytes; the kernels' limits are 104 and 108 with the final NUL
_READY_PATIENCE: Final = 30.0
_RECOVERY_PATIENCE: Final = 600.0  # while the server says that it is starting up
_LOCK_PATIENCE: Final = 600.0
_STOP_PATIENCE: Final = 30.0
_LOG_MAX: Final = 10 * 1024 * 1024
_BASE_OPTIONS: Final = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "logging_collector=off",
)
_UNSAFE_OPTIONS: Final = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


class AlreadyRunningError(EmbeddedDatabaseError):
    """Raised when another service owns the data folder."""


class StartError(EmbeddedDatabaseError):
    """Raised when PostgreSQL does not start; carries the last lines of its log."""


@dataclass(frozen=True, slots=True)
class EmbeddedUrls:
    """How to connect: as the role that owns the schema, and as the one that serves."""

    owner_url: str
    app_url: str


class EmbeddedServer:
    """A PostgreSQL in `data_dir/postgres`, kept running until `stop()`.

    A thread of its own starts it and waits for it: it is started again when it dies, and, since the
    parent-death signal hangs on the starting thread, it is shut down when this process dies.

    Args:
        data_dir: made when missing, for this user alone.
        binaries: which PostgreSQL.
        kind: a `serve` refuses to share with another and outwaits commands.
        durable: False only in tests: faster, and a crash of the machine loses data.
        max_connections: of all workers' pools together, and some for commands.
    """

    def __init__(
        self,
        data_dir: Path,
        binaries: Binaries,
        *,
        kind: Kind = "serve",
        durable: bool = True,
        max_connections: int = 100,
    ) -> None:
        self._folder = data_dir.resolve()
        self._cluster = self._folder / CLUSTER
        self._log = self._folder / "postgres.log"
        self._binaries = binaries
        self._kind: Kind = kind
        self._durable = durable
        self._max_connections = max_connections
        self._socket_dir = _socket_dir(self._folder)
        self._lock: IO[str] | None = None
        self._launch = Launch()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._stopping = threading.Event()

    @classmethod
    def for_service(
        cls,
        data_dir: Path,
        *,
        bin_dir: Path | None = None,
        durable: bool = True,
        max_connections: int = 100,
    ) -> Self:
        """Choose the PostgreSQL that fits the folder, for a service.

        Raises:
            NoBinariesError: none fits.
        """
        binaries = binaries_for(data_dir, bin_dir)
        return cls(data_dir, binaries, durable=durable, max_connections=max_connections)

    @property
    def binaries(self) -> Binaries:
        """PostgreSQL's programs, of this server's version."""
        return self._binaries

    @property
    def owner_url(self) -> str:
        """URL of the role that owns the schema."""
        return _url(OWNER, self._socket_dir)

    @property
    def app_url(self) -> str:
        """URL of the role that serves."""
        return _url(SERVING, self._socket_dir)

    @property
    def superuser_url(self) -> str:
        """URL of the cluster's superuser, for tests, backups and repairs."""
        return _url("postgres", self._socket_dir)

    def start(self) -> None:
        """Take the folder, make the cluster if there is none, and wait until it answers.

        Raises:
            AlreadyRunningError: another service owns the folder.
            StartError: PostgreSQL does not start.
            EmbeddedDatabaseError: the folder can't be used.
        """
        _make_folder(self._folder)
        self._lock = _take_lock(self._folder, self._kind, self._socket_dir)
        try:
            self._launch = find_launch(self._binaries)
            if self._launch.user is not None:
                self._folder.chmod(0o711)  # to be passed through, not read
            self._make_cluster()
            self._make_socket_dir()
            if self._log.exists() and self._log.stat().st_size > _LOG_MAX:
                self._log.replace(self._log.with_suffix(".log.1"))
            self._stopping.clear()
            self._keeper = threading.Thread(target=self._keep, name="postgres", daemon=True)
            self._keeper.start()
            self._wait_ready()
            asyncio.run(_prepare(self.superuser_url))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut the server down and let go of the folder; a second call does nothing."""
        self._stopping.set()
        process, keeper = self._process, self._keeper
        if process is not None and process.poll() is None:
            _end(process)
        if keeper is not None:
            keeper.join()
        self._keeper = self._process = None
        if self._lock is None:
            return
        if self._socket_dir.parent != self._folder:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
        self._lock.close()
        self._lock = None

    def _make_cluster(self) -> None:
        """Run initdb beside the final place and rename: a crash leaves nothing half-made."""
        for leftover in self._folder.glob(f"{NEW}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if not self._cluster.exists() and (self._folder / READY).exists():
            (self._folder / READY).rename(self._cluster)  # a restore was cut off at its end
        if (self._cluster / "PG_VERSION").exists():
            shutil.rmtree(self._folder / READY, ignore_errors=True)  # of a restore cut off before
            return
        if self._cluster.exists() and (not self._cluster.is_dir() or any(self._cluster.iterdir())):
            raise EmbeddedDatabaseError(f"{self._cluster} is no PostgreSQL cluster: move it away")
        new = Path(tempfile.mkdtemp(prefix=NEW, dir=self._folder))
        self._launch.hand_over(new)
        self._run_initdb(new)
        new.rename(self._cluster)

    def _run_initdb(self, folder: Path) -> None:
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
        options += ["--data-checksums"] + ([] if self._durable else ["--no-sync"])
        command = self._launch.command(self._binaries["initdb"], "-D", str(folder), *options)
        made = subprocess.run(  # noqa: S603  # PostgreSQL's own program
            command, capture_output=True, text=True, check=False, **self._launch.options()
        )
        if made.returncode != 0:
            lines = (made.stderr or made.stdout).strip().splitlines()
            raise StartError(f"PostgreSQL can't make a cluster: {' / '.join(lines[-3:])}")

    def _make_socket_dir(self) -> None:
        folder = self._socket_dir
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        is_ours = found.st_uid in {os.geteuid(), self._launch.options().get("user")}
        if not stat.S_ISDIR(found.st_mode) or not is_ours:
            raise EmbeddedDatabaseError(f"{folder} belongs to somebody else: remove it")
        folder.chmod(0o700)
        self._launch.hand_over(folder)

    def _keep(self) -> None:
        """Start the server again whenever it ends by itself, sooner at first than later."""
        pause = 0.2
        while not self._stopping.is_set():
            self._process = process = self._spawn()
            if self._stopping.is_set():
                _end(process)
            pause = 0.2 if self._outlive(process) else min(pause * 2, 5.0)
            self._stopping.wait(pause)

    def _outlive(self, process: "subprocess.Popen[bytes]") -> bool:
        """Wait until the server ends, and tell whether it was there for anybody before."""
        url = _url("postgres", self._socket_dir, "postgres")
        is_there = False
        while process.poll() is None and not is_there and not self._stopping.wait(0.1):
            is_there = asyncio.run(_probe(url)) == "ready"
        process.wait()
        return is_there

    def _spawn(self) -> "subprocess.Popen[bytes]":
        handle = os.open(self._log, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "ab") as log:  # statements stand in it, and values
            options: dict[str, Any] = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
            # Ctrl-C in a terminal is for the service, which then stops this
            options |= {"start_new_session": True, **self._launch.options()}
            command = self._launch.guarded(self._binaries["postgres"], *self._options())
            process: subprocess.Popen[Any] = subprocess.Popen(command, **options)  # noqa: S603
        return process

    def _options(self) -> list[str]:
        values = [*_BASE_OPTIONS, f"unix_socket_directories={self._socket_dir}"]
        values.append(f"max_connections={self._max_connections}")
        values += [] if self._durable else _UNSAFE_OPTIONS
        return ["-D", str(self._cluster), *(part for value in values for part in ("-c", value))]

    def _wait_ready(self) -> None:
        began = time.monotonic()
        while True:
            answer = asyncio.run(_probe(_url("postgres", self._socket_dir, "postgres")))
            if answer == "ready":
                return
            patience = _RECOVERY_PATIENCE if answer == "starting" else _READY_PATIENCE
            if time.monotonic() - began > patience:
                raise StartError(f"PostgreSQL does not start: {_last_lines(self._log)}")
            time.sleep(0.02)


@contextlib.contextmanager
def use_embedded(data_dir: Path, *, bin_dir: Path | None = None) -> Iterator[EmbeddedUrls]:
    """Give the embedded database to a command: the running service's, or one for the while.

    Commands without a service wait for each other.

    Raises:
        EmbeddedDatabaseError: it can't be used.
    """
    folder = data_dir.resolve()
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        if (urls := _running_service(folder)) is not None:
            yield urls
            return
        server = EmbeddedServer(folder, binaries_for(folder, bin_dir), kind="command")
        try:
            server.start()
            break
        except AlreadyRunningError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    try:
        yield EmbeddedUrls(server.owner_url, server.app_url)
    finally:
        server.stop()


def _running_service(folder: Path) -> EmbeddedUrls | None:
    owner = _lock_owner(folder)
    if owner is None or owner.get("kind") != "serve":
        return None
    socket_dir = Path(owner["socket_dir"])  # its TMPDIR may be another than ours
    deadline = time.monotonic() + _READY_PATIENCE
    while asyncio.run(_probe(_url("postgres", socket_dir, "postgres"))) != "ready":
        if time.monotonic() > deadline:
            pid = owner.get("pid")
            raise StartError(f"the service (process {pid}) runs, but its database does not answer")
        if _lock_owner(folder) is None:
            return None
        time.sleep(0.05)
    return EmbeddedUrls(_url(OWNER, socket_dir), _url(SERVING, socket_dir))


@contextlib.contextmanager
def owning(data_dir: Path) -> Iterator[None]:
    """Own the folder while nothing runs in it.

    Raises:
        AlreadyRunningError: a service or a command uses it.
        EmbeddedDatabaseError: it can't be used.
    """
    folder = data_dir.resolve()
    _make_folder(folder)
    with _take_lock(folder, "command", _socket_dir(folder)):
        yield


def binaries_for(data_dir: Path, bin_dir: Path | None = None) -> Binaries:
    """Find the PostgreSQL that fits the cluster in the folder, or else any.

    Raises:
        NoBinariesError: there is none.
        EmbeddedDatabaseError: the cluster can't be read.
    """
    version = data_dir / CLUSTER / "PG_VERSION"
    try:
        major = int(version.read_text(encoding="ascii"))
    except (FileNotFoundError, NotADirectoryError):
        return find_binaries(bin_dir)
    except (OSError, ValueError):
        raise EmbeddedDatabaseError(f"{version} can't be read") from None
    return find_binaries(bin_dir, major=major)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise EmbeddedDatabaseError(
            f"the data folder {folder} can't be used: {error.strerror}"
        ) from None


def _take_lock(folder: Path, kind: Kind, socket_dir: Path) -> IO[str]:
    """Own the folder until the file is closed, which the kernel does for a process that dies."""
    began = time.monotonic()
    lock = (folder / "postgres.lock").open("a+", encoding="utf-8")
    while not _try_lock(lock):
        owner = _read_owner(lock)
        # a look at the lock takes it for a moment, and its text may be that of a dead owner
        waited = time.monotonic() - began
        patience = 1.0 if owner.get("kind") == "serve" else 2 * _READY_PATIENCE
        if kind == "command" or waited > patience:
            lock.close()
            message = f"another denizen (process {owner.get('pid', '?')}) uses {folder}"
            raise AlreadyRunningError(message)
        time.sleep(0.05)
    lock.truncate(0)
    lock.write(json.dumps({"pid": os.getpid(), "kind": kind, "socket_dir": str(socket_dir)}))
    lock.flush()
    return lock


def _lock_owner(folder: Path) -> dict[str, Any] | None:
    """Tell who holds the folder; None when nobody does."""
    try:
        with (folder / "postgres.lock").open("r+", encoding="utf-8") as lock:
            return None if _try_lock(lock) else _read_owner(lock)
    except OSError:
        return None


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_owner(lock: IO[str]) -> dict[str, Any]:
    lock.seek(0)
    try:
        owner = json.loads(lock.read())
    except ValueError:  # taken, and not written yet
        return {}
    return owner if isinstance(owner, dict) else {}


def _socket_dir(folder: Path) -> Path:
    """Give the socket's folder: beside the cluster, or a short one where that path is too long."""
    beside = folder / "postgres-run"
    if len(os.fsencode(beside / _SOCKET_NAME)) <= _LONGEST_SOCKET:
        return beside
    mark = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"denizen-{os.geteuid()}-{mark}"


def _url(user: str, socket_dir: Path, database: str = DATABASE) -> str:
    return f"postgresql://{user}@/{database}?host={urllib.parse.quote(str(socket_dir), safe='')}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown; immediate when that takes too long: recovery then does at the next start."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait()


def _last_lines(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "it left no log"
    return " / ".join(lines[-3:])


async def _probe(url: str) -> Literal["ready", "starting", "away"]:
    try:
        connection = await _connect(url)
    except asyncpg.CannotConnectNowError:
        return "starting"
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return "away"
    await connection.close()
    return "ready"


async def _prepare(superuser_url: str) -> None:
    """Make the two roles and the database, where they are missing."""
    admin = await _connect(superuser_url.replace(f"/{DATABASE}?", "/postgres?"))
    try:
        roles = {r["rolname"] for r in await admin.fetch("SELECT rolname FROM pg_roles")}
        for role in (OWNER, SERVING):
            if role not in roles:
                await admin.execute(f"CREATE ROLE {role} LOGIN")
        if not await admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
            await admin.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    finally:
        await admin.close()


async def _connect(url: str) -> Any:
    parts = urllib.parse.urlsplit(url)
    (host,) = urllib.parse.parse_qs(parts.query)["host"]
    database = parts.path.lstrip("/")
    return await asyncpg.connect(host=host, user=parts.username, database=database, timeout=5)
