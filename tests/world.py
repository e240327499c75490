"""A small world for state machines: the service, a clock, and the post, driven without a loop.

A machine's rules are plain functions, so a world has an event loop of its own and runs in it
whatever is asked. One world serves all examples of a machine, emptied before each: a fresh one
takes longer than an example. The limits of `throttle` are off here, and hashing costs next to
nothing; both have tests of their own.
"""

import asyncio
import os
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from typing import Any, Final, TypeVar

import argon2
import asyncpg
import httpx
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, run_state_machine_as_test

from denizen.app import Denizen
from denizen.db.testing import Databases
from denizen.passwords.hasher import PasswordHasher
from denizen.secret import decode
from denizen.settings import Settings
from denizen.users.model import UserModel
from mailserver import link_in

T = TypeVar("T")

SEED: Final = int(os.environ.get("FUZZ_SEED", "20261124"))
EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "0"))  # of each machine; 0: its own few
_TABLES: Final = (
    "sessions",
    "known_networks",
    "tokens",
    "outbox",
    "throttles",
    "idempotency_keys",
    "audit_events",
    "api_keys",
    "users",
)


class Machine(RuleBasedStateMachine):
    """A machine whose examples differ from the first choice on.

    The second example of a run takes another first choice than the simplest has: one that means
    nothing, so that all that mean something are free.
    """

    @initialize(number=st.integers(0, 2**32))
    def start(self, number: int) -> None:
        """Choose something."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that arrived: which request it answers, for what its link is good, the token."""

    to: str
    request_id: uuid.UUID
    purpose: str
    token: str


@dataclass(slots=True)
class Post:
    """Takes messages away, as a mail server does, and keeps them."""

    messages: list[EmailMessage] = field(default_factory=list)

    async def send(self, message: EmailMessage) -> None:
        """Keep a message."""
        self.messages.append(message)


def make_cheap(hasher: PasswordHasher) -> None:
    """Let a hash cost 8 KiB and one pass: everything else of the hasher stays as it is."""
    hasher._argon2 = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    hasher._dummy = hasher._argon2.hash("nobody's")


class World:
    """The service over a database.

    Attributes:
        denizen: the running part.
        answers: how often each act, as `POST /path`, was answered with each status.
    """

    def __init__(self, databases: Databases, settings: Settings) -> None:
        settings = settings.model_copy(update={"throttle": "off"})
        self._runner = asyncio.Runner()
        self._post = Post()
        self.answers: Counter[tuple[str, int]] = Counter()
        self.denizen: Denizen[UserModel] = Denizen(settings=settings, transport=self._post)
        make_cheap(self.denizen.hasher)
        app = FastAPI()
        self.denizen.install(app)
        transport = httpx.ASGITransport(app=app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://denizen.test")
        self.run(self._open(databases.superuser_url))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the world's event loop."""
        # `Runner.run` handles SIGINT anew each time, a tenth of what an act costs
        return self._runner.get_loop().run_until_complete(work)

    def together(self, *works: Coroutine[Any, Any, T]) -> Sequence[T]:
        """Do several things at once."""

        async def gathered() -> Sequence[T]:
            return await asyncio.gather(*works)

        return self.run(gathered())

    def close(self) -> None:
        """End everything."""

        async def end() -> None:
            await self._client.aclose()
            await self.denizen.stop()
            await self._sql.close()

        self.run(end())
        self._runner.close()

    def begin(self) -> None:
        """Begin anew: nobody is there, no mail waits, and the clock is right."""
        self.run(self._sql.execute(";".join(f"DELETE FROM {table}" for table in _TABLES)))
        self._post.messages.clear()
        self.denizen.clock.skew = timedelta(0)

    def restart(self) -> None:
        """Stop the service and start it; its database and its clock stay."""
        self.run(self.denizen.stop())
        self.run(self.denizen.start())

    def advance(self, by: timedelta) -> None:
        """Move the clock."""
        self.denizen.clock.skew += by

    def tidy(self) -> None:
        """Have erased and forgotten what is due."""
        self.run(self.denizen.housekeeper.clean_up())

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str = "", agent: str = ""
    ) -> httpx.Response:
        """Send a request and wait for its answer."""
        return self.run(self.asking(method, path, body, token=token, agent=agent))

    async def asking(
        self, method: str, path: str, body: Any = None, *, token: str = "", agent: str = ""
    ) -> httpx.Response:
        """Send a request; the path may carry `If-Match` behind a blank."""
        headers = {"User-Agent": agent or "stranger"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        path, _, version = path.partition(" ")
        if version:
            headers["If-Match"] = f'"{version}"'
        answer = await self._client.request(method, path, json=body, headers=headers)
        self.answers[f"{method} {path}", answer.status_code] += 1
        return answer

    def deliver(self) -> list[Letter]:
        """Send all mails that are due and give them, in the order in which they were asked for."""

        async def send() -> None:
            while await self.denizen.mail.send_due():
                pass

        self.run(send())
        letters = sorted(map(_letter, self._post.messages), key=lambda one: one.request_id)
        self._post.messages.clear()
        return letters

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Give the rows of a query, past the service; `:now` is its clock."""
        skew = self.denizen.clock.skew.total_seconds()
        sql = sql.replace(":now", f"(now() + interval '{skew:.0f} s')")
        return [tuple(row) for row in self.run(self._sql.fetch(sql, *values))]

    def dump(self) -> str:
        """Give every row of every table as text."""
        whole = " UNION ALL ".join(f"SELECT t::text FROM {table} t" for table in _TABLES)
        return "\n".join(row for (row,) in self.rows(whole))

    async def _open(self, superuser_url: str) -> None:
        parts = urllib.parse.urlsplit(superuser_url)
        (host,) = urllib.parse.parse_qs(parts.query)["host"]
        database = parts.path.lstrip("/")
        self._sql: Any = await asyncpg.connect(host=host, user=parts.username, database=database)
        await self.denizen.start()


def play(
    world: World,
    machine: Callable[[], Machine],
    *,
    examples: int,
    steps: int,
    reached: Sequence[str],
) -> None:
    """Run a machine: the same examples every time, or as many as `make fuzz` asks for.

    Each example has a seed of its own, the next number, and a run of its own, whose first example
    is always the simplest: in one run of many, hypothesis tries variations of what it has seen, and
    most are alike.

    Args:
        world: in which it plays.
        machine: makes one for an example.
        examples: how many; `FUZZ_EXAMPLES` says otherwise.
        steps: of each.
        reached: of what some must have succeeded, as `POST /path`, or little was tried.
    """
    settings = hypothesis_settings(
        max_examples=2,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        phases=[Phase.generate, Phase.shrink],
    )
    factory: Any = machine  # typed as a class, documented as a class or a function
    for number in range(SEED, SEED + (EXAMPLES or examples)):
        seed(number)(factory)
        try:
            run_state_machine_as_test(factory, settings=settings)
        except BaseException as error:
            error.add_note(f"FUZZ_SEED={number} FUZZ_EXAMPLES=1 tries this example again")
            raise
    succeeded = {act for act, status in world.answers if status < 300}
    assert EXAMPLES or succeeded & set(reached), "too little was tried"


def _letter(message: EmailMessage) -> Letter:
    url = urllib.parse.urlsplit(link_in(message))
    (token,) = urllib.parse.parse_qs(url.query).get("token", [""])
    purpose = url.path.removeprefix("/account/") if token else ""
    request_id = uuid.UUID(message["Message-ID"].strip("<>").partition("@")[0])
    return Letter(message["To"], request_id, purpose, token)


def secret_of(text: str) -> bytes:
    """Give the random part of a token, of a session or of a link."""
    found = decode(f"{text.partition('_')[0]}_", text)
    assert found is not None
    return found[1]
