"""F31: the service itself has no disk, no file descriptors, no memory left."""

import asyncio
import os
import resource
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

import processes
from denizen.app import Denizen
from denizen.settings import Settings
from denizen.users.model import UserModel
from faults.disks import AS_ROOT, fill, small_disk
from faults.nemeses import children
from faults.owned import Own
from faults.report import Measured, full, publish
from faults.stage import Stage
from processes import Service
from support import PASSWORD, Api

FILES: Final = 96
CLIENTS: Final = 200
HEADROOM: Final = 8 * 2**20  # a hash takes 19 MiB
_TICKS: Final = os.sysconf("SC_CLK_TCK")


async def test_f31_service_without_file_descriptors_waits_and_goes_on(
    stage: Stage, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More clients than it may have files: it does not spin, and answers once they have left."""
    limited = ["sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", *processes.DENIZEN]
    monkeypatch.setattr(processes, "DENIZEN", limited)
    service, seconds = await own.start(), full(20, 3)
    crowd = [await _idle(own.port) for _ in range(CLIENTS)]
    await asyncio.sleep(0.5)
    before = _spent(service)
    await asyncio.sleep(seconds)
    spent = (_spent(service) - before) / seconds
    in_use = max(_files(pid) for pid in children(service.process.pid))
    for transport in crowd:
        transport.abort()
    healed = await asyncio.to_thread(service.until, "/readyz", 200)
    async with stage.loaded(url=own.url, clients=2) as load:
        load.recorder.mark("fault")  # was before
        load.recorder.mark("healed")
        await load.until(10)

    await own.end()
    fault = f"{CLIENTS} clients of a service with {FILES} files"
    expected = "does not spin; answers when they have left"
    await stage.measure(load, "F31", fault, expected)
    assert in_use > FILES / 2
    assert spent < 0.3
    assert healed < 10


async def _idle(port: int) -> asyncio.Transport:
    """Connect, and say nothing for the time being."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port)
    transport.write(b"GET /v1/me HTTP/1.1\r\n")
    return transport


def _files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _size(pid: int) -> int:
    """Give the octets of addresses that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def _spent(service: Service) -> float:
    """Give the seconds of a core that the service's processes have taken."""
    spent = 0
    for pid in children(service.process.pid):
        _, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        spent += sum(map(int, fields.split()[11:13]))
    return spent / _TICKS


async def test_f31_password_is_never_wrong_for_want_of_memory(stage: Stage, own: Own) -> None:
    """None for a hash: the right password is refused for now, and good when there is some."""
    service = await own.start()
    pids = children(service.process.pid)
    body = {"email": "root@example.com", "password": PASSWORD}
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_AS, (_size(pid) + HEADROOM, resource.RLIM_INFINITY))
    told = [await asyncio.to_thread(service.ask, "POST", "/v1/sessions", body) for _ in range(5)]
    for pid in pids:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_AS, unlimited)
    after = await asyncio.to_thread(service.ask, "POST", "/v1/sessions", body)

    expected = "503, never a wrong password; heals by itself"
    publish(Measured(row="F31", fault="no memory for a hash", expected=expected))
    assert {answer.status for answer in told} == {503}
    assert {answer.headers["retry-after"] for answer in told} == {"1"}
    assert after.status == 201
    assert children(service.process.pid) == pids


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Have the data folder on a small disk."""
    with small_disk(tmp_path / "data", 1) as found:
        yield found


@pytest.fixture
def settings(disk: Path, settings: Settings) -> Settings:
    """Give settings whose data folder is small."""
    assert settings.data_dir == disk
    return settings


@AS_ROOT
async def test_f31_upload_for_which_there_is_no_room_is_refused_whole(
    disk: Path, admin: Api
) -> None:
    """Larger than the disk, or a few octets on a full one: 507, and nothing of it stays."""
    file = {"file": ("a.csv", b"email,username\na@example.com,a\n")}
    large = {"file": ("a.csv", b"email,username\n" + b"a@example.com,a\n" * 2**17)}

    told = [await admin.post("/v1/imports", files=large)]
    filler = fill(disk / "filler")
    told.append(await admin.post("/v1/imports", files=file))
    left = set(_all(disk)) - {filler}
    filler.unlink()
    after = await admin.post("/v1/imports", files=file)

    expected = "507, nothing left of it; heals by itself"
    publish(Measured(row="F31", fault="no room for an upload", expected=expected))
    assert [(answer.status_code, answer.json()["code"]) for answer in told] == [
        (507, "disk_full")
    ] * 2
    assert left == set()
    assert after.status_code == 202


@AS_ROOT
async def test_f31_mail_for_which_there_is_no_room_comes_later_once(
    disk: Path, admin: Api, denizen: Denizen[UserModel]
) -> None:
    """Tried again, as with a server that is out of reach; until then there is not half a mail."""
    filler = fill(disk / "filler")
    body = {"email": "ann@example.com", "username": "ann"}
    made = await admin.post("/v1/users", json=body)
    await _send(denizen)
    left = set(_all(disk)) - {filler}
    filler.unlink()
    await _send(denizen)

    expected = "tried again; one whole mail"
    publish(Measured(row="F31", fault="no room for a mail", expected=expected))
    assert made.status_code == 201
    assert left == set()
    assert ["To: ann@example.com" in path.read_text() for path in _all(disk)] == [True]


def _all(disk: Path) -> list[Path]:
    return [path for path in disk.rglob("*") if path.is_file()]


async def _send(denizen: Denizen[Any]) -> None:
    """Send what is due in the next hours."""
    for _ in range(3):
        while await denizen.mail.send_due():
            pass
        denizen.clock.skew += timedelta(hours=1)
