"""`denizen backup` and `denizen restore`: real services, real kills, nothing half."""

import asyncio
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from denizen.app import Denizen
from denizen.db.embedded import READY, binaries_for, use_embedded
from denizen.db.testing import Databases, superuser
from denizen.users.model import UserModel
from processes import DENIZEN, Service, command, environment, serving, wait_until_gone
from support import PASSWORD, Api, StatementCounter

ADMIN = ("root@example.com", "root", "--role", "admin", "--verified", "--password-stdin")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a data folder with an administrator in it."""
    folder = tmp_path_factory.mktemp("origin") / "data"
    made = command(folder, "users", "create", *ADMIN, stdin=PASSWORD + "\n")
    assert made.returncode == 0, made.stderr
    yield folder
    wait_until_gone(folder)


@pytest.fixture(scope="module")
def backup(origin: Path) -> Path:
    """Give a backup of it."""
    path = origin.parent / "backup"
    told = _json(command(origin, "backup", str(path), "--json"))
    assert told["backup"] == str(path)
    return path


def _json(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def _refused(done: "subprocess.CompletedProcess[str]", status: int) -> str:
    """Give the one line that a refusal is told in."""
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def _names(folder: Path) -> set[str]:
    listed = _json(command(folder, "users", "list", "--limit", "1000", "--json"))
    return {user["username"] for user in listed["items"]}


def _token(service: Service) -> str:
    body = {"email": ADMIN[0], "password": PASSWORD}
    answer = service.ask("POST", "/v1/sessions", body)
    assert answer.status == 201, answer.body
    token: str = answer.json()["token"]
    return token


def test_whoever_was_told_of_before_is_in_the_backup_whoever_writes_meanwhile(
    tmp_path: Path,
) -> None:
    """Four write without pause; restored elsewhere: all acknowledged before, nobody invented.

    Passwords work there, and whoever was signed in is not any more.
    """
    folder, path = tmp_path / "data", tmp_path / "backup"
    acknowledged: list[str] = []
    sent: set[str] = set()
    over = threading.Event()

    def write(service: Service, token: str, writer: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            name = f"w{writer}n{number}"
            sent.add(name)
            body = {"email": f"{name}@example.com", "username": name}
            if service.ask("POST", "/v1/users", body, token=token).status == 201:
                acknowledged.append(name)

    with serving(folder, "--dev", "--workers", "1") as service:
        service.until("/readyz", 200)
        made = command(folder, "users", "create", *ADMIN, stdin=PASSWORD + "\n")
        assert made.returncode == 0, made.stderr
        token = _token(service)
        writers = [threading.Thread(target=write, args=(service, token, n)) for n in range(4)]
        for thread in writers:
            thread.start()
        try:
            while len(acknowledged) < 20:
                time.sleep(0.01)
            before = set(acknowledged)
            assert command(folder, "backup", str(path)).returncode == 0
            during = len(acknowledged) - len(before)
        finally:
            over.set()
            for thread in writers:
                thread.join()
    assert during > 0

    other = tmp_path / "other"
    told = _json(command(other, "restore", str(path), "--json"))
    assert told["aside"] is None
    found = _names(other)
    assert before <= found - {"root"} <= sent
    with serving(other, "--dev", "--workers", "1") as service:
        service.until("/readyz", 200)
        assert service.ask("GET", "/v1/me", token=token).status == 401
        _token(service)
    wait_until_gone(tmp_path)


def test_restore_keeps_the_database_before_aside(tmp_path: Path, backup: Path) -> None:
    """Asked and answered, or `--yes`; what was there lies beside it; the audit tells."""
    folder = tmp_path / "data"
    assert command(folder, "users", "create", "later@example.com", "later").returncode == 0
    kept = command(folder, "restore", str(backup), stdin="n\n")
    assert kept.returncode != 0
    assert "Replace the database" in kept.stderr
    assert _names(folder) == {"later"}

    told = _json(command(folder, "restore", str(backup), "--yes", "--json"))

    assert _names(folder) == {"root"}
    aside = Path(told["aside"])
    assert (aside / "PG_VERSION").exists()
    assert aside.parent == folder
    events = _json(command(folder, "audit", "--json"))["items"]
    assert [event["action"] for event in events[:2]] == ["database.restored", "database.backed_up"]
    assert events[0]["after"] == {"made_at": told["made_at"]}
    # and back again, by hand, as the how-to says
    (folder / "postgres").rename(folder / "postgres-unwanted")
    aside.rename(folder / "postgres")
    assert _names(folder) == {"later"}
    wait_until_gone(folder)


def test_restore_waits_for_no_running_service(tmp_path: Path, backup: Path) -> None:
    """It is refused, even with `--yes`, and the service goes on."""
    folder = tmp_path / "data"
    with serving(folder, "--dev", "--workers", "1") as service:
        service.until("/readyz", 200)
        line = _refused(command(folder, "restore", str(backup), "--yes"), 3)
        assert str(service.process.pid) in line
        assert service.ask("GET", "/readyz").status == 200
    assert {path.name for path in folder.glob("postgres-*")} <= {"postgres-run"}


def test_backup_of_a_later_schema_is_refused(tmp_path: Path, backup: Path) -> None:
    """By what it says; and by what is in it, where what it says was changed."""
    folder, path = tmp_path / "data", tmp_path / "later"
    assert command(folder, "users", "create", "here@example.com", "here").returncode == 0
    told = json.loads((backup / "backup.json").read_text())
    _revise(folder, "9999")
    assert command(folder, "backup", str(path)).returncode == 0
    _revise(folder, told["schema"])

    assert "later denizen" in _refused(command(folder, "restore", str(path), "--yes"), 1)
    said = json.loads((path / "backup.json").read_text()) | {"schema": told["schema"]}
    (path / "backup.json").write_text(json.dumps(said))
    assert "later denizen" in _refused(command(folder, "restore", str(path), "--yes"), 1)
    assert _names(folder) == {"here"}
    assert list(folder.glob("postgres-[bn]*")) == []


def _revise(folder: Path, revision: str) -> None:
    async def run(url: str) -> None:
        async with superuser(url) as connection:
            await connection.execute(f"UPDATE alembic_version SET version_num = '{revision}'")

    with use_embedded(folder) as urls:
        asyncio.run(run(urls.owner_url))


def test_dump_that_can_not_be_read_changes_nothing(tmp_path: Path, backup: Path) -> None:
    """A backup whose description was made for it, and whose dump is none."""
    from denizen.backups.folder import DUMP, describe, whole_folder

    folder, path = tmp_path / "data", tmp_path / "broken"
    assert command(folder, "users", "create", "here@example.com", "here").returncode == 0
    told = json.loads((backup / "backup.json").read_text())
    with whole_folder(path) as part:
        (part / DUMP).write_bytes(b"no dump at all")
        describe(
            part, **{name: told[name] for name in ("made_at", "denizen", "schema", "postgres")}
        )

    line = _refused(command(folder, "restore", str(path), "--yes"), 3)

    assert "pg_restore failed" in line
    assert _names(folder) == {"here"}


def test_own_database_is_none_of_its_business(tmp_path: Path, backup: Path) -> None:
    """With `DENIZEN_DATABASE_URL` set it is wrong usage, and where there is none it is refused."""
    url = "postgresql://me:canary@localhost/x"
    for words in (("backup", "new"), ("restore", str(backup), "--yes")):
        line = _refused(command(tmp_path / "data", *words, DENIZEN_DATABASE_URL=url), 2)
        assert "DENIZEN_DATABASE_URL" in line
        assert "canary" not in line
    assert "no database" in _refused(command(tmp_path / "data", "backup", "new"), 1)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("backup", "{backup}"), "is there already"),
        (("backup", "/proc/nowhere/backup"), "No such file"),
        (("restore", "{data}", "--yes"), "no backup"),
        (("restore", "nowhere", "--yes"), "no backup"),
    ],
)
def test_folders_that_can_not_be_are_named(
    origin: Path, backup: Path, words: tuple[str, ...], said: str
) -> None:
    """1, in one line."""
    filled = [word.format(backup=backup, data=origin) for word in words]

    assert said in _refused(command(origin, *filled), 1)


def _kill_when(
    folder: Path, is_time: Callable[[], bool], *words: str, pause: float = 0
) -> "subprocess.Popen[bytes]":
    """Run a command and kill it as soon as it is time, or a moment later."""
    process = subprocess.Popen(
        [*DENIZEN, *words, "--data-dir", str(folder)],
        cwd=folder.parent,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not is_time() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(pause)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return process


def test_backup_killed_in_the_middle_is_not_there(tmp_path: Path, origin: Path) -> None:
    """Nothing has its name; the next one has, and what was begun is gone."""
    path = tmp_path / "backup"
    killed = _kill_when(origin, lambda: any(tmp_path.glob(".backup.*")), "backup", str(path))
    assert killed.returncode == -signal.SIGKILL
    assert not path.exists()
    assert list(tmp_path.glob(".backup.*.part"))

    assert command(origin, "backup", str(path)).returncode == 0
    assert [found.name for found in tmp_path.iterdir()] == ["backup"]


@pytest.mark.parametrize("pause", [0, 0.7])
def test_restore_killed_in_the_middle_changes_nothing(
    tmp_path: Path, backup: Path, pause: float
) -> None:
    """The database is the one before or the one restored, and nothing half is left."""
    folder = tmp_path / "data"
    assert command(folder, "users", "create", "here@example.com", "here").returncode == 0
    words = ("restore", str(backup), "--yes")
    _kill_when(folder, lambda: any(folder.glob("postgres-new-*")), *words, pause=pause)
    wait_until_gone(folder, patience=15)

    assert _names(folder) in ({"here"}, {"root"})
    assert list(folder.glob("postgres-new-*")) == []


def test_restore_killed_between_its_last_two_steps_is_finished(
    tmp_path: Path, backup: Path
) -> None:
    """What is ready is put in place by whoever comes next; beside a cluster it is left alone."""
    folder = tmp_path / "data"
    assert command(folder, "users", "create", "here@example.com", "here").returncode == 0
    assert command(folder, "restore", str(backup), "--yes").returncode == 0
    wait_until_gone(folder)
    (aside,) = folder.glob("postgres-before-*")
    (folder / "postgres").rename(folder / READY)

    assert _names(folder) == {"root"}
    wait_until_gone(folder)
    (folder / "postgres").rename(folder / READY)
    aside.rename(folder / "postgres")
    assert _names(folder) == {"here"}


async def test_restored_database_has_no_session_and_no_link(
    denizen: Denizen[UserModel], admin: Api, anonymous: Api, statements: StatementCounter
) -> None:
    """What was ended or used since the backup must not be alive again; nothing else is touched."""
    await denizen.registrations.first_admin_token()
    assert (await admin.get("/v1/me")).status_code == 200

    async with statements.listening() as heard:
        await denizen.backups.settle_restored("then")

    assert (await admin.get("/v1/me")).status_code == 401
    assert [line.split()[0] for line in heard].count("DELETE") == 2
    (event,) = await denizen.audit.list_events(action="database.restored")
    assert (event.actor_kind, event.after) == ("operator", {"made_at": "then"})


def test_dump_moves_into_a_server_of_ones_own(
    tmp_path: Path, backup: Path, blank: Databases
) -> None:
    """As the how-to says: by PostgreSQL's own tool, as the owner, then `denizen migrate`."""
    program = binaries_for(tmp_path)["pg_restore"]
    options = ["--no-owner", "--no-privileges", "--exit-on-error", f"--dbname={blank.owner_url}"]
    moved = subprocess.run(
        [program, *options, str(backup / "denizen.dump")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert moved.returncode == 0, moved.stderr
    own = partial(command, DENIZEN_DATABASE_URL=blank.app_url, DENIZEN_MIGRATE_URL=blank.owner_url)

    assert own(tmp_path / "data", "migrate").returncode == 0
    listed = _json(own(tmp_path / "data", "users", "list", "--json"))
    assert [user["username"] for user in listed["items"]] == ["root"]
