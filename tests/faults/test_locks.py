"""F26, F27, F28: no connection is to be had, here or at the server; a deadlock, and a long wait."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from denizen.db.testing import superuser
from faults.load import PATIENCE
from faults.nemeses import stopped
from faults.report import full
from faults.stage import Stage
from support import until_a_lock_is_waited_for


@pytest.fixture
async def operator(stage: Stage) -> AsyncIterator[Any]:
    """Give a connection of somebody who locks things."""
    async with superuser(stage.server.superuser_url) as connection:
        yield connection


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """Give an admin."""
    headers = {"Authorization": f"Bearer {stage.token}"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=stage.url, headers=headers, timeout=30, limits=limits
    ) as found:
        yield found


async def _timed(client: httpx.AsyncClient, path: str) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    answer = await client.get(path)
    return answer, time.monotonic() - began


async def test_f26_pool_that_is_empty_is_told_at_once_and_fair_afterwards(
    stage: Stage, operator: Any, client: httpx.AsyncClient
) -> None:
    """A hundred wait for what is locked: refused in time, and all are served once it is free."""
    seconds = full(20, 3)
    async with stage.loaded(clients=2) as load:
        await load.until(5)
        load.recorder.mark("fault")
        async with operator.transaction():
            await operator.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            refused = [asyncio.create_task(_timed(client, "/v1/me")) for _ in range(100)]
            await asyncio.sleep(seconds / 2)
            alive = [await _timed(client, "/healthz") for _ in range(5)]
            ready, waited = await _timed(client, "/readyz")
            await asyncio.sleep(seconds / 2)
        load.recorder.mark("healed")
        answers = await asyncio.gather(*refused)
        served = await asyncio.gather(*(_timed(client, "/v1/me") for _ in range(100)))
        await load.until(5)

    await stage.measure(
        load,
        "F26",
        f"every connection waits for a lock, 100 ask, {seconds} s",
        "503 with Retry-After at 2 s; alive; fair afterwards",
    )
    told = [
        (answer.headers.get("retry-after"), took) for answer, took in answers if answer.is_error
    ]
    assert len(told) >= 50
    assert {retry for retry, _ in told} == {"1"}
    assert {answer.status_code for answer, _ in answers} <= {200, 503}
    assert sorted(took for _, took in told)[len(told) // 2] < 4
    assert max(took for _, took in answers) < PATIENCE
    assert {answer.status_code for answer, _ in alive} == {200}
    assert max(took for _, took in alive) < 2
    assert ready.status_code in {200, 503}
    assert waited < 5
    assert {answer.status_code for answer, _ in served} == {200}
    assert max(took for _, took in served) < 5


async def test_f27_server_without_a_connection_left_is_told_and_found_again(
    stage: Stage, operator: Any, client: httpx.AsyncClient
) -> None:
    """Others hold all that PostgreSQL has, and the service none: 503, and whole afterwards."""
    seconds = full(20, 3)
    ours = "FROM pg_stat_activity WHERE usename = 'denizen'"
    async with stage.loaded(clients=2) as load:
        await load.until(5)
        load.recorder.mark("fault")
        async with contextlib.AsyncExitStack() as held:
            with stopped(stage.service.process.pid):  # or it would be faster
                await operator.execute(f"SELECT pg_terminate_backend(pid, 5000) {ours}")
                with contextlib.suppress(asyncpg.TooManyConnectionsError):
                    while True:
                        await held.enter_async_context(superuser(stage.server.owner_url))
            await asyncio.sleep(seconds)
            answer, took = await _timed(client, "/v1/me")
            alive, _ = await _timed(client, "/healthz")
            left = await operator.fetchval(f"SELECT count(*) {ours}")
        load.recorder.mark("healed")
        await load.until(5)

    measured = await stage.measure(
        load,
        "F27",
        f"others hold every connection of PostgreSQL, {seconds} s",
        "503 with Retry-After; alive; heals by itself",
    )
    assert left == 0
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "database_unavailable"
    assert took < PATIENCE
    assert alive.status_code == 200
    assert measured.gap < seconds + 8


async def test_f28_deadlock_is_resolved_by_running_again(
    stage: Stage, operator: Any, client: httpx.AsyncClient
) -> None:
    """Two wait for each other: PostgreSQL ends the service's, which runs again and is done."""
    user = await _a_user(client, "deadlock")
    before = await _reruns(stage)
    await operator.execute("SET deadlock_timeout = '30s'")  # the other one looks first
    async with operator.transaction():
        await operator.execute("LOCK TABLE audit_events IN EXCLUSIVE MODE")
        asked = asyncio.create_task(client.patch(f"/v1/users/{user}", json={"locale": "ru"}))
        await until_a_lock_is_waited_for(operator)
        await operator.execute(f"SELECT 1 FROM users WHERE id = '{user}' FOR UPDATE")
    answer = await asked

    assert (answer.status_code, answer.json()["locale"]) == (200, "ru")
    assert await _reruns(stage) > before
    assert await stage.leaks() == 0


async def test_f28_long_lock_is_told_and_nobody_else_waits(
    stage: Stage, operator: Any, client: httpx.AsyncClient
) -> None:
    """One row is locked for seconds: its request is refused in time, all others go on."""
    user = await _a_user(client, "locked")
    async with stage.loaded(clients=3) as load:
        await load.until(5)
        load.recorder.mark("fault")
        async with operator.transaction():
            await operator.execute(f"SELECT 1 FROM users WHERE id = '{user}' FOR UPDATE")
            began = time.monotonic()
            answer = await client.patch(f"/v1/users/{user}", json={"locale": "ru"})
            took = time.monotonic() - began
        load.recorder.mark("healed")
        again = await client.patch(f"/v1/users/{user}", json={"locale": "ru"})
        await load.until(5)

    measured = await stage.measure(
        load, "F28", "a row locked for seconds", "503 with Retry-After; nobody else waits"
    )
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert took < 8
    assert again.status_code == 200
    assert measured.gap < 3


async def _a_user(client: httpx.AsyncClient, name: str) -> str:
    name = f"{name}{time.monotonic_ns()}"
    body = {"email": f"{name}@example.com", "username": name}
    identity: str = (await client.post("/v1/users", json=body)).json()["id"]
    return identity


async def _reruns(stage: Stage) -> float:
    """Count the units that were run again after a deadlock, or after a wait for a lock."""
    return await stage.figure(*(f'denizen_reruns_total{{sqlstate_class="{c}"' for c in (40, 55)))
