"""Clients that make users over HTTP and ask again until they are told, and one that reads.

Whatever nobody knows the outcome of is sent again under the same Idempotency-Key, as the
documentation asks of callers.
"""

import asyncio
import contextlib
import itertools
import random
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import httpx

from faults.recorder import Outcome, Recorder

PATIENCE: Final = 15.0  # seconds for one answer: the deadline that the service promises
GIVE_UP: Final = 30.0  # seconds of asking again
_BUSY: Final = frozenset({409, 429, 503})


@dataclass(slots=True, kw_only=True)
class Load:
    """Who asks what, and how fast.

    Attributes:
        url: of the service.
        token: of an admin.
        recorder: of the history.
        clients: how many make users, one after the other.
        pace: seconds that each of them waits in between.
        patience: seconds that they wait for one answer.
        give_up: seconds after which they stop asking again.
        is_keyed: whether requests carry a key; without one, asking again is another act, with
            another address, for nothing else would tell two users apart.
    """

    url: str
    token: str
    recorder: Recorder
    clients: int = 6
    pace: float = 0.05
    patience: float = PATIENCE
    give_up: float = GIVE_UP
    is_keyed: bool = True
    prefix: str = field(default_factory=lambda: f"f{uuid.uuid4().hex[:8]}")
    done: int = 0
    _is_over: bool = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the service until the block ends, and then until every act is told."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self.clients + 1)
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=self.patience, limits=limits
        ) as client:
            self._is_over = False
            async with asyncio.TaskGroup() as tasks:
                for writer in range(self.clients):
                    tasks.create_task(self._write(client, f"{self.prefix}w{writer}n"))
                tasks.create_task(self._read(client))
                try:
                    yield
                finally:
                    self._is_over = True

    async def until(self, more: int, *, patience: float = 30) -> None:
        """Wait until that many more acts were told to be done."""
        wanted = self.done + more
        async with asyncio.timeout(patience):
            while self.done < wanted:  # noqa: ASYNC110  # they are many
                await asyncio.sleep(0.01)

    async def _write(self, client: httpx.AsyncClient, name: str) -> None:
        for number in itertools.count():
            if self._is_over:
                return
            await self._create(client, f"{name}{number}")
            await asyncio.sleep(self.pace)

    async def _create(self, client: httpx.AsyncClient, value: str) -> None:
        key = {"Idempotency-Key": uuid.uuid4().hex} if self.is_keyed else {}
        give_up = time.monotonic() + self.give_up
        for number in itertools.count():
            name = value if self.is_keyed else f"{value}.{number}"
            body = {"email": f"{name}@example.com", "username": name}
            request = client.build_request("POST", "/v1/users", json=body, headers=key)
            outcome, is_settled = await ask(client, request, self.recorder, "create", value)
            self.done += outcome == "ok"
            if is_settled or time.monotonic() > give_up:
                return
            await asyncio.sleep(random.uniform(0.02, 0.2))

    async def _read(self, client: httpx.AsyncClient) -> None:
        while not self._is_over:
            await ask(client, client.build_request("GET", "/v1/me"), self.recorder, "read", "me")
            await asyncio.sleep(self.pace)


async def ask(
    client: httpx.AsyncClient, request: httpx.Request, recorder: Recorder, kind: str, value: str
) -> tuple[Outcome, bool]:
    """Send one request; give its outcome, and whether there is nothing to ask again."""
    number = recorder.invoke(kind, value)
    outcome: Outcome
    try:
        answer = await client.send(request)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        outcome, told, is_settled = "fail", type(error).__name__, False
    except httpx.TransportError as error:
        outcome, told, is_settled = "info", type(error).__name__, False
    else:
        outcome, told = classify(answer)
        is_settled = outcome == "ok" or (outcome == "fail" and not _may_be_repeated(answer))
    recorder.end(number, outcome, told)
    return outcome, is_settled


def classify(answer: httpx.Response) -> tuple[Outcome, str]:
    """Give what an answer says of its request; a 500 says nothing, a 503 that nothing was done."""
    if answer.is_success:
        return "ok", str(answer.status_code)
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    code = str(answer.json()["code"]) if is_problem else "none"
    told = f"{answer.status_code} {code}"
    is_unknown = code == "outcome_unknown" or (answer.status_code >= 500 and code == "none")
    return ("info" if is_unknown or answer.status_code == 500 else "fail"), told


def _may_be_repeated(answer: httpx.Response) -> bool:
    return answer.status_code in _BUSY and "retry-after" in answer.headers
