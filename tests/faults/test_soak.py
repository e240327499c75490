"""F44: everything at once, for `FAULTS_SOAK` minutes: nothing grows. In full runs alone."""

import asyncio
import contextlib
import os
import statistics
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from denizen.db.testing import superuser
from faults.load import PATIENCE
from faults.nemeses import children
from faults.report import IN_FULL
from faults.stage import POOL, Stage
from support import PASSWORD

MINUTES: Final = float(os.environ.get("FAULTS_SOAK", "3"))
SAMPLES: Final = 60
MEBIBYTE: Final = 2**20

pytestmark = IN_FULL


@dataclass(frozen=True, slots=True)
class _Sample:
    """What the service has: octets in memory, files, and connections to the database."""

    memory: int
    files: int
    connections: int


async def test_f44_service_that_works_for_long_does_not_grow(stage: Stage) -> None:
    """Users made, read, searched and changed, people who come and go: memory, files, pool flat."""
    seconds = MINUTES * 60
    async with stage.loaded(clients=3) as load, _visitors(stage):
        await load.until(50, patience=60)
        load.recorder.mark("fault")
        samples = []
        for _ in range(SAMPLES):
            await asyncio.sleep(seconds / SAMPLES)
            samples.append(await _sample(stage))
        load.recorder.mark("healed")
        await load.until(20)

    early, late = samples[SAMPLES // 4 : SAMPLES // 2], samples[-SAMPLES // 4 :]
    grown = _median(late, "memory") - _median(early, "memory")
    fault = f"{MINUTES:g} minutes of everything ({grown / MEBIBYTE:+.1f} MiB)"
    await stage.measure(load, "F44", fault, "memory, files and connections stay")
    assert grown < max(16 * MEBIBYTE, _median(early, "memory") / 10), samples
    assert abs(_median(late, "files") - _median(early, "files")) <= POOL, samples
    assert _median(late, "connections") <= POOL, samples


@contextlib.asynccontextmanager
async def _visitors(stage: Stage) -> AsyncIterator[None]:
    """Have an admin look at users and change some, and people sign in and out."""
    async with httpx.AsyncClient(base_url=stage.url, timeout=PATIENCE) as client:
        tasks = [asyncio.create_task(one(stage, client)) for one in (_manage, _come_and_go)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


async def _manage(stage: Stage, client: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {stage.token}"}
    while True:
        name = f"k{uuid.uuid4().hex[:12]}"
        body = {"email": f"{name}@example.com", "username": name}
        made = await client.post("/v1/users", json=body, headers=headers)
        path = f"/v1/users/{made.json()['id']}"
        for answer in (
            made,
            await client.patch(path, json={"locale": "ru"}, headers=headers),
            await client.get("/v1/users", params={"q": name[:6]}, headers=headers),
            await client.get("/v1/audit-events", headers=headers),
            await client.delete(path, params={"erase": "now"}, headers=headers),
            await client.post("/v1/password-resets", json={"email": body["email"]}),
        ):
            assert answer.is_success, answer.text
        await asyncio.sleep(0.1)


async def _come_and_go(_stage: Stage, client: httpx.AsyncClient) -> None:
    body = {"email": "root@example.com", "password": PASSWORD}
    while True:
        token = (await client.post("/v1/sessions", json=body)).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        for method, path, status in (
            ("GET", "/v1/me/sessions", 200),
            ("GET", "/account", 303),
            ("DELETE", "/v1/me/sessions/current", 204),
            ("GET", "/v1/me", 401),
        ):
            answer = await client.request(method, path, headers=headers)
            assert answer.status_code == status, (method, path, answer.text)
        await asyncio.sleep(0.2)


async def _sample(stage: Stage) -> _Sample:
    pids = [stage.service.process.pid, *children(stage.service.process.pid)]
    async with superuser(stage.server.superuser_url) as watcher:
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'denizen'"
        connections = await watcher.fetchval(query)
    return _Sample(sum(map(_memory, pids)), sum(map(_files, pids)), connections)


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * 4096


def _files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _median(samples: Sequence[_Sample], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in samples))
