"""A guard on the hot path: it stays near the program that one would write by hand for speed alone.

`make bench` has the figures; here only what is far off them fails, on whatever machine.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
import pytest
from bench.peers import handwritten
from fastapi import FastAPI

from denizen.db.testing import Databases
from support import Api

FAR_OFF: Final = 0.65  # of the yardstick's speed; ours has all of it here, FastAPI's own route half
CALLS: Final = 60
ROUNDS: Final = 7
Program = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


async def test_who_am_i_keeps_up_with_the_program_written_by_hand(
    app: FastAPI, admin: Api, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processor time of whole calls without a server, in turns: the best of each is compared."""
    async with asyncpg.create_pool(databases.app_url, min_size=1, max_size=1) as pool:
        monkeypatch.setattr(handwritten, "_pool", pool)
        turns = [
            [await _seconds(program, str(admin.token)) for program in (app, handwritten.app)]
            for _ in range(ROUNDS)
        ]

    ours, yardstick = (min(times) for times in zip(*turns, strict=True))
    assert yardstick / ours > FAR_OFF


async def _seconds(program: Program, token: str) -> float:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/me",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"denizen.test"), (b"authorization", f"Bearer {token}".encode())],
    }
    statuses: list[int | None] = []

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status"))

    began = time.process_time()
    for _ in range(CALLS):
        await program(dict(scope), _receive, send)
    took = time.process_time() - began
    assert statuses == [200, None] * CALLS
    return took


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}
