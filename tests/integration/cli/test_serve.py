"""`denizen serve` as a whole: real processes, real sockets, real kills."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import processes
from denizen.db.testing import Databases
from processes import Forwarder, Service, command, environment, free_port, serving, wait_until_gone

PASSWORD = "a fine long passphrase 77"
ADMIN = ("root@example.com", "root", "--role", "admin", "--verified", "--password-stdin")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the command as it is installed beside this Python, where it is."""
    script = Path(sys.executable).with_name("denizen")
    if script.exists():
        monkeypatch.setattr(processes, "DENIZEN", [str(script)])


def _signed_in(service: Service, folder: Path, **settings: str) -> str:
    made = command(folder, "users", "create", *ADMIN, stdin=PASSWORD + "\n", **settings)
    assert made.returncode == 0, made.stderr
    body = {"email": ADMIN[0], "password": PASSWORD}
    answer = service.ask("POST", "/v1/sessions", body)
    assert answer.status == 201, answer.body
    token: str = answer.json()["token"]
    return token


def test_service_serves_and_data_survives_a_restart(tmp_path: Path) -> None:
    """From nothing to a user; SIGTERM ends it with 0; after the second start the user is there."""
    folder = tmp_path / "data"
    with serving(folder, "--dev") as service:
        first = service.until("/readyz", 200)
        token = _signed_in(service, folder)
        new = {"email": "ann@example.com", "username": "ann"}
        created = service.ask("POST", "/v1/users", new, token=token)
        assert created.status == 201
        pages = {path: service.ask("GET", path).status for path in ("/", "/docs", "/healthz")}
        assert set(pages.values()) == {200}, pages
        assert b"<h1" in service.ask("GET", "/").body
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    wait_until_gone(folder)

    began = time.monotonic()
    with serving(folder, "--dev") as service:
        service.until("/readyz", 200)
        second = time.monotonic() - began
        shown = service.ask("GET", f"/v1/users/{created.json()['id']}", token=token)
        assert shown.json() == created.json()
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(20) == 0
    wait_until_gone(folder)
    print(f"first start {first:.1f} s, second {second:.1f} s")
    assert second < 6  # 3 s on a quiet machine


def test_t_boot_1_first_admin_link_stands_in_a_file_until_there_is_one(tmp_path: Path) -> None:
    """Not in the log: a file for this user's eyes, new at each start, gone with the first admin."""
    folder = tmp_path / "my data"
    links = []
    for _ in range(2):
        with serving(folder, "--dev") as service:
            service.until("/readyz", 200)
            named = re.search(r"first admin +the link in (.+)", service.log.read_text())
            assert named is not None
            file = tmp_path / named[1]
            assert file.stat().st_mode & 0o777 == 0o600
            links.append((file, file.read_text().strip()))
            link = links[-1][1]
            assert link not in service.log.read_text()
            assert link.startswith(f"http://127.0.0.1:{service.port}/account/first-admin?")
    assert links[0][1] != links[1][1]
    assert command(folder, "users", "create", *ADMIN, stdin=PASSWORD + "\n").returncode == 0
    with serving(folder, "--dev") as service:
        service.until("/readyz", 200)
        assert service.log.read_text().count("first admin") == 0
    assert not links[0][0].exists()


def test_kill_9_leaves_nothing_behind_and_the_next_start_works(tmp_path: Path) -> None:
    """The main process killed: workers and PostgreSQL go by themselves, within seconds."""
    folder, port = tmp_path / "data", free_port()
    with serving(folder, "--dev", port=port) as service:
        service.until("/readyz", 200)
        token = _signed_in(service, folder)
        postgres = _children(_postmaster(folder))
        assert postgres
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait()
    print(f"gone after {wait_until_gone(folder, patience=5):.1f} s")
    assert not any(_is_postgres(pid) for pid in postgres)

    with serving(folder, "--dev", port=port) as service:
        service.until("/readyz", 200)
        assert service.ask("GET", "/v1/me", token=token).status == 200


def test_killed_postgres_comes_back(tmp_path: Path) -> None:
    """PostgreSQL killed under the service: 503 for a moment, then all is as before."""
    folder = tmp_path / "data"
    with serving(folder, "--dev", "--workers", "1") as service:
        service.until("/readyz", 200)
        token = _signed_in(service, folder)
        postmaster = (folder / "postgres" / "postmaster.pid").read_text().splitlines()[0]
        os.kill(int(postmaster), signal.SIGKILL)
        healed = service.until("/readyz", 200)
        assert service.ask("GET", "/v1/me", token=token).status == 200
        print(f"healed after {healed:.1f} s")


def test_second_service_is_refused(tmp_path: Path) -> None:
    """The same port, or the same folder: the second ends with 3 and names what is taken."""
    folder, port = tmp_path / "data", free_port()
    with serving(folder, "--dev", port=port) as service:
        service.until("/healthz", 200)
        began = time.monotonic()
        words = ("serve", "--dev", "--port")
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(command, tmp_path / "other", *words, str(port))
            second = pool.submit(command, folder, *words, str(free_port()))
            same_port, same_folder = first.result(), second.result()
        assert time.monotonic() - began < 10

    assert (same_port.returncode, same_folder.returncode) == (3, 3)
    assert str(port) in same_port.stderr
    assert str(service.process.pid) in same_folder.stderr


def test_revocation_holds_on_every_worker(tmp_path: Path) -> None:
    """Signed out on one worker, the token is dead on all, at the next request."""
    folder = tmp_path / "data"
    with serving(folder, "--dev", "--workers", "2") as service:
        service.until("/readyz", 200)
        token = _signed_in(service, folder)
        assert {service.ask("GET", "/v1/me", token=token).status for _ in range(20)} == {200}
        assert service.ask("DELETE", "/v1/me/sessions/current", token=token).status == 204
        assert {service.ask("GET", "/v1/me", token=token).status for _ in range(40)} == {401}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com"])  # noqa: S104
def test_dev_listens_on_this_machine_alone(tmp_path: Path, host: str) -> None:
    """`--dev` with another address is wrong usage."""
    done = command(tmp_path / "data", "serve", "--dev", "--host", host)

    assert done.returncode == 2
    assert "--dev" in done.stderr


def test_own_database_that_is_behind_is_refused(tmp_path: Path, blank: Databases) -> None:
    """Without `--dev`, a schema that is behind is the operator's to mend."""
    done = command(tmp_path / "data", "serve", DENIZEN_DATABASE_URL=blank.owner_url)

    assert done.returncode == 3
    assert "denizen migrate" in done.stderr


def test_database_away_at_start_and_later_heals(tmp_path: Path, databases: Databases) -> None:
    """Away at start: not ready; away later: 503 within 5 s; both heal by themselves."""
    parts = urllib.parse.urlsplit(databases.app_url)
    (socket_dir,) = urllib.parse.parse_qs(parts.query)["host"]
    port = free_port()
    url = f"postgresql://denizen@127.0.0.1:{port}{parts.path}?sslmode=disable"
    with (
        Forwarder(f"{socket_dir}/.s.PGSQL.5432", port) as forwarder,
        serving(tmp_path / "data", "--workers", "1", DENIZEN_DATABASE_URL=url) as service,
    ):
        service.until("/healthz", 200)
        away = service.ask("GET", "/readyz")
        assert (away.status, away.headers["retry-after"]) == (503, "1")

        forwarder.up()
        service.until("/readyz", 200)
        token = _signed_in(service, tmp_path / "data", DENIZEN_DATABASE_URL=url)

        forwarder.down()
        for method, path, body in (
            ("GET", "/v1/me", None),
            ("POST", "/v1/sessions", {"email": ADMIN[0], "password": PASSWORD}),
            ("POST", "/v1/users", {"email": "x@example.com", "username": "x"}),
        ):
            began = time.monotonic()
            answer = service.ask(method, path, body, token=token)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert time.monotonic() - began < 5
            assert answer.json()["code"] == "database_unavailable"
        assert service.ask("GET", "/healthz").status == 200

        forwarder.up()
        service.until("/readyz", 200)
        assert service.ask("GET", "/v1/me", token=token).status == 200


def test_frozen_database_is_told_within_five_seconds(tmp_path: Path, databases: Databases) -> None:
    """Connections stand and nothing answers: 503 with `Retry-After`, and it heals."""
    parts = urllib.parse.urlsplit(databases.app_url)
    (socket_dir,) = urllib.parse.parse_qs(parts.query)["host"]
    port = free_port()
    url = f"postgresql://denizen@127.0.0.1:{port}{parts.path}?sslmode=disable"
    with (
        Forwarder(f"{socket_dir}/.s.PGSQL.5432", port) as forwarder,
        serving(tmp_path / "data", "--workers", "1", DENIZEN_DATABASE_URL=url) as service,
    ):
        forwarder.up()
        service.until("/readyz", 200)
        token = _signed_in(service, tmp_path / "data", DENIZEN_DATABASE_URL=url)

        def timed(path: str) -> tuple[str, int, str | None, float]:
            began = time.monotonic()
            answer = service.ask("GET", path, token=token)
            waited = time.monotonic() - began
            return path, answer.status, answer.headers.get("retry-after"), waited

        paths = ("/readyz", "/v1/me", "/v1/users") * 2
        with ThreadPoolExecutor(len(paths)) as pool:
            assert {status for _, status, *_ in pool.map(timed, paths)} == {200}
            forwarder.freeze()
            frozen = list(pool.map(timed, paths))
        forwarder.thaw()

        assert {(status, retry) for _, status, retry, _ in frozen} == {(503, "1")}
        assert max(waited for *_, waited in frozen) < 5, frozen
        service.until("/v1/me", 401)
        assert service.ask("GET", "/v1/me", token=token).status == 200


def test_uvicorn_serves_the_same_app(tmp_path: Path, databases: Databases) -> None:
    """`denizen.app:create_app` is a factory for any ASGI server."""
    port = free_port()
    words = ["-m", "uvicorn", "denizen.app:create_app", "--factory", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, *words],
        env=environment(DENIZEN_DATABASE_URL=databases.app_url),
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        Service(process, port, tmp_path / "none").until("/readyz", 200)
    finally:
        process.terminate()
        process.wait(20)


def _postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _is_postgres(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"postgres:")
    except OSError:
        return False


def test_dev_migrates_an_own_database(tmp_path: Path, blank: Databases) -> None:
    """`--dev` brings up to date whatever database is set, and starts no other."""
    folder, url = tmp_path / "data", blank.owner_url
    with serving(folder, "--dev", "--workers", "1", DENIZEN_DATABASE_URL=url) as service:
        service.until("/readyz", 200)
    assert not (folder / "postgres").exists()


def test_told_to_end_while_it_starts_it_ends_clean(tmp_path: Path) -> None:
    """SIGTERM in the middle of the first start: 0, nothing runs on, and the next start works."""
    folder = tmp_path / "data"
    with serving(folder, "--dev", "--workers", "1") as service:
        began = time.monotonic()
        while not list(folder.glob("postgres-new-*")):
            assert time.monotonic() - began < 20
            time.sleep(0.005)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0, service.log.read_text()
    wait_until_gone(folder)

    with serving(folder, "--dev", "--workers", "1") as service:
        service.until("/readyz", 200)
    assert list(folder.glob("postgres-new-*")) == []


def test_told_to_end_while_workers_start_it_ends_at_once(
    tmp_path: Path, databases: Databases
) -> None:
    """SIGTERM between the fork of the workers and their first request: 0, without the grace."""
    url = databases.app_url
    with serving(tmp_path / "data", "--workers", "2", DENIZEN_DATABASE_URL=url) as service:
        began = time.monotonic()
        while "Spawning worker-2" not in service.log.read_text():
            assert time.monotonic() - began < 20
            time.sleep(0.005)
        began = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
        assert time.monotonic() - began < 10, service.log.read_text()


def test_killed_worker_is_replaced(tmp_path: Path, databases: Databases) -> None:
    """A worker killed with -9 costs no more than a moment; the service goes on and ends with 0."""
    folder, url = tmp_path / "data", databases.app_url
    with serving(folder, "--workers", "1", DENIZEN_DATABASE_URL=url) as service:
        service.until("/readyz", 200)
        workers = [pid for pid in _children(service.process.pid) if _listens(pid, service.port)]
        assert workers
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        print(f"replaced after {service.until('/readyz', 200, patience=10):.1f} s")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0


def _listens(pid: int, port: int) -> bool:
    """Whether the process has a socket that listens on the port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    wanted = {
        f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")
    }
    held = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            held.add(str(entry.readlink()))
    return bool(held & wanted)


def test_two_started_at_once_on_a_port_share_nothing(tmp_path: Path) -> None:
    """Of two services that start in the same moment on one port, one serves and one ends with 3."""
    port = free_port()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        serving(tmp_path / "one" / "data", "--workers", "1", port=port) as one,
        serving(tmp_path / "two" / "data", "--workers", "1", port=port) as two,
    ):
        began = time.monotonic()
        while (ended := [s for s in (one, two) if s.process.poll() is not None]) == []:
            assert time.monotonic() - began < 20
            time.sleep(0.05)
        assert ended[0].process.returncode == 3, ended[0].log.read_text()
        assert str(port) in ended[0].log.read_text()
        (left,) = [service for service in (one, two) if service is not ended[0]]
        left.until("/readyz", 200)


def test_log_is_json_and_tells_each_request(tmp_path: Path, databases: Databases) -> None:
    """Where stderr is no terminal every line of it is one object, from the first to the last."""
    folder, url = tmp_path / "data", databases.app_url
    with serving(folder, "--workers", "1", DENIZEN_DATABASE_URL=url) as service:
        service.until("/readyz", 200)
        answer = service.ask("GET", "/v1/users/canary?q=canary", token="canary")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    text = service.log.read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    others = [line for line in text.splitlines() if not line.startswith("{")]
    assert others[0] == "denizen is starting"
    assert all(line.startswith("  ") for line in others[1:]), others
    (told,) = [line for line in lines if line.get("request_id") == answer.headers["x-request-id"]]
    assert (told["method"], told["route"], told["status"]) == ("GET", "/v1/users/{id}", 422)
    assert told["pid"] != service.process.pid
    assert "canary" not in text
    assert "no mail server is set" in " ".join(line["message"] for line in lines)
    assert {line["logger"] for line in lines} >= {"_granian", "denizen.cli.serve"}
