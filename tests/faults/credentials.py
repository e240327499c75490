"""Clients that use sessions which somebody ends, and links of which each works once.

Each client comes over a connection of its own, to whichever worker takes it, and asks again until
it is told.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
from uuid_utils.compat import uuid7

from denizen.app import Denizen
from denizen.db.testing import superuser
from denizen.settings import Settings
from denizen.tokens.model import DAY, Purpose
from denizen.tokens.queries import issue
from denizen.users.model import UserModel
from faults.load import GIVE_UP, PATIENCE, ask
from faults.recorder import Recorder, Try
from faults.stage import Stage
from support import PASSWORD, a_user

AT_ONCE: Final = 3
NEW_PASSWORD: Final = "another long passphrase 78"
_DONE: Final = """
SELECT user_id FROM audit_events
WHERE action IN ('password.changed', 'email.verified') AND user_id = ANY($1)
"""


@dataclass(frozen=True, slots=True)
class Link:
    """A link in a mail that somebody has: whose, and the request that it is used with."""

    user: UserModel
    path: str
    body: Mapping[str, str]


class Credentials:
    """What uses them, at one service; the history has the kinds `use`, `revoke`, `consume`."""

    def __init__(self, url: str, recorder: Recorder) -> None:
        self._recorder = recorder
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._client = httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits)

    async def run(self, sessions: int, links: Sequence[Link]) -> list[Try]:
        """Use and end so many sessions, and use the links; give the history."""
        async with self._client, asyncio.TaskGroup() as tasks:
            for number in range(sessions):
                tasks.create_task(self._live(f"s{number}"))
            for link in links:
                tasks.create_task(self._consume(link))
        return self._recorder.tries()

    async def _live(self, name: str) -> None:
        """Sign in, use the session from several places, and end it from another."""
        headers = {"Authorization": f"Bearer {await self._sign_in()}"}
        over = asyncio.Event()

        async def use() -> None:
            while not over.is_set():
                await self._ask("use", name, "GET", "/v1/me", headers=headers)
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as users:
            for _ in range(AT_ONCE):
                users.create_task(use())
            await asyncio.sleep(random.uniform(0, 0.5))
            await self._settle("revoke", name, "DELETE", "/v1/me/sessions/current", headers=headers)
            await asyncio.sleep(0.5)
            over.set()

    async def _sign_in(self) -> str:
        body = {"email": "root@example.com", "password": PASSWORD}
        async with asyncio.timeout(3 * GIVE_UP):
            while True:
                try:
                    answer = await self._client.post("/v1/sessions", json=body)
                except httpx.TransportError:
                    continue
                if answer.status_code == 201:
                    token: str = answer.json()["token"]
                    return token
                await asyncio.sleep(random.uniform(0.1, 0.5))

    async def _consume(self, link: Link) -> None:
        """Use a link from several places at once."""
        await asyncio.sleep(random.uniform(0, 1))
        async with asyncio.TaskGroup() as clients:
            for _ in range(AT_ONCE):
                name, options = str(link.user.id), {"json": link.body}
                clients.create_task(self._settle("consume", name, "POST", link.path, **options))

    async def _settle(self, kind: str, name: str, method: str, path: str, **options: Any) -> None:
        async with asyncio.timeout(3 * GIVE_UP):
            while not await self._ask(kind, name, method, path, **options):  # noqa: ASYNC110  # the answer is the event
                await asyncio.sleep(random.uniform(0.02, 0.2))

    async def _ask(self, kind: str, name: str, method: str, path: str, **options: Any) -> bool:
        request = self._client.build_request(method, path, **options)
        _, is_settled = await ask(self._client, request, self._recorder, kind, name)
        return is_settled


async def some_links(stage: Stage, count: int) -> list[Link]:
    """Make users, each with a link in the mail: to set a password, or to confirm an address."""
    settings = Settings.load(
        database_url=stage.server.app_url, data_dir=stage.folder / "data", _env_file=None
    )
    denizen: Denizen[UserModel] = Denizen(settings=settings)
    await denizen.start()
    try:
        purposes = (Purpose.EMAIL_VERIFICATION, Purpose.PASSWORD_RESET)
        return [await _a_link(denizen, purposes[number % 2]) for number in range(count)]
    finally:
        await denizen.stop()


async def _a_link(denizen: Denizen[UserModel], purpose: Purpose) -> Link:
    is_reset = purpose is Purpose.PASSWORD_RESET
    name = f"l{time.monotonic_ns()}"
    email = f"{name}@example.com"
    user = await a_user(denizen, email=email, username=name, verified=is_reset)
    async with denizen.db.get_session() as db:
        issued = await issue(
            db,
            denizen.parts.tables.tokens,
            purpose,
            user.id,
            request_id=uuid7(),
            now=denizen.clock.db_now,
            life=DAY,
            email=email,
        )
    assert issued is not None
    body = {"token": issued.token.text} | ({"password": NEW_PASSWORD} if is_reset else {})
    return Link(user, f"/v1/{purpose.value}s/confirm", body)


async def effects(stage: Stage, links: Sequence[Link]) -> list[str]:
    """Give whose links had an effect, as often as they had it, behind the service's back."""
    async with superuser(stage.server.superuser_url) as watcher:
        rows = await watcher.fetch(_DONE, [link.user.id for link in links])
    return [str(row["user_id"]) for row in rows]
