"""F40: imports whose process is killed with SIGKILL, at whatever moment, and go on afterwards.

`make faults-import` runs them with 100,000 users and ten kills.
"""

import asyncio
import hashlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import httpx

from denizen.db.testing import Databases, superuser
from processes import DENIZEN, Service, command, environment, serving, wait_until_gone
from support import PASSWORD

ROWS: Final = int(os.environ.get("DENIZEN_TEST_IMPORT_ROWS", "20000"))
KILLS: Final = int(os.environ.get("DENIZEN_TEST_IMPORT_KILLS", "2"))
HASH: Final = "$2b$05$iMiDb7txSSmaZYxr53xgO.5vRFoy9uPr0234Ac5Zp16OPotdhSRaq"
# all that tells one table from another, in one line; whoever signs in is no part of it
STATE: Final = """
SELECT count(*) || ' ' || md5(string_agg(u::text, '|' ORDER BY id)) FROM users u
WHERE username <> 'root'
"""
REPORTED: Final = """
SELECT md5(string_agg(record || code, '|' ORDER BY record)) FROM import_refusals
WHERE import_id = (SELECT id FROM imports ORDER BY id LIMIT 1)
"""


def _write(path: Path) -> None:
    """Write users of whom every column is given, some of them twice and some of them wrong."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("id,email,username,hashed_password,created_at,updated_at\n")
        for number in range(ROWS):
            name = f"u{number - (number % 1000 == 999)}"  # the one before again
            email = "nonsense" if number % 500 == 7 else f"{name}@example.com"
            digest = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
            parts = (digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:])
            day = "2020-01-02T03:04:05Z"
            stream.write(f"{'-'.join(parts)},{email},{name},{HASH},{day},{day}\n")


async def _state(databases: Databases) -> tuple[Any, ...]:
    async with superuser(databases.superuser_url) as watcher:
        # one that is killed when all is done is made again, and finds everybody there
        counts = "SELECT state, records, done, created, skipped, refused FROM imports"
        counts += " ORDER BY id LIMIT 1"
        imports = [tuple(row) for row in await watcher.fetch(counts)]
        return imports, await watcher.fetchval(STATE), await watcher.fetchval(REPORTED)


async def _forget(databases: Databases) -> None:
    async with superuser(databases.superuser_url) as watcher:
        await watcher.execute("TRUNCATE users, imports CASCADE")


def _until_done(words: list[str], settings: dict[str, str], kills: int) -> int:
    """Run a command, killed at random moments, until it ends by itself; give the kills."""
    done = 0
    while True:
        process = subprocess.Popen(
            [*DENIZEN, *words],
            env=environment(**settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            # a command takes a second to begin
            process.wait(random.uniform(0.5, 1.3) if done < kills else 300)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
            continue
        assert process.returncode == 1  # some rows are refused
        return done


async def test_f40_command_that_is_killed_goes_on_where_it_was(
    databases: Databases, tmp_path: Path
) -> None:
    """However often: the same users, counts and refusals as of a run that nobody disturbed."""
    path = tmp_path / "users.csv"
    _write(path)
    words = ["users", "import", str(path), "--data-dir", str(tmp_path / "data"), "--json"]
    settings = {"DENIZEN_DATABASE_URL": databases.app_url}
    assert await asyncio.to_thread(_until_done, words, settings, 0) == 0
    clean = await _state(databases)
    await _forget(databases)

    kills = await asyncio.to_thread(_until_done, words, settings, KILLS)

    assert kills > 0
    assert await _state(databases) == clean
    ((_, records, done, *_),), users, _ = clean
    assert records == done == ROWS
    assert users.startswith(f"{ROWS - ROWS // 1000 - ROWS // 500} ")


async def test_f40_service_that_is_killed_goes_on_with_its_uploads(tmp_path: Path) -> None:
    """The whole service, its database included, is killed in the middle; started, it ends it."""
    path, folder = tmp_path / "users.csv", tmp_path / "data"
    _write(path)
    words = ("users", "create", "root@example.com", "root", "--role", "admin", "--verified")
    made = command(folder, *words, "--password-stdin", stdin=PASSWORD + "\n")
    assert made.returncode == 0, made.stderr

    with serving(folder, "--workers", "2") as service:
        service.until("/readyz", 200)
        token = _sign_in(service)
        place = await asyncio.to_thread(_upload, service, token, path)
        began = time.monotonic()
        while not _ask(service, token, place)["done"]:
            assert time.monotonic() - began < 30
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
    wait_until_gone(folder, patience=20)
    with serving(folder, "--workers", "2") as service:
        service.until("/readyz", 200, patience=60)
        halfway = _ask(service, token, place)
        while (told := _ask(service, token, place))["state"] in {"waiting", "writing"}:
            assert time.monotonic() - began < 120
            await asyncio.sleep(0.1)
        listed = service.ask("GET", "/v1/users?q=u12@example.com", token=token).json()

    assert 0 < halfway["done"] < ROWS
    assert (told["state"], told["done"]) == ("finished", ROWS)
    assert told["created"] == ROWS - ROWS // 1000 - ROWS // 500
    assert [user["username"] for user in listed["items"]] == ["u12"]
    wait_until_gone(folder, patience=20)


def _sign_in(service: Service) -> str:
    body = {"email": "root@example.com", "password": PASSWORD}
    return str(service.ask("POST", "/v1/sessions", body).json()["token"])


def _upload(service: Service, token: str, path: Path) -> str:
    with path.open("rb") as stream:
        answer = httpx.post(
            f"http://127.0.0.1:{service.port}/v1/imports",
            files={"file": ("users.csv", stream)},
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )
    assert answer.status_code == 202, answer.text
    return answer.headers["location"]


def _ask(service: Service, token: str, place: str) -> dict[str, Any]:
    told: dict[str, Any] = service.ask("GET", place, token=token).json()
    return told
