"""F23: a replica that is behind by as much as it likes: lists are old, and nothing that decides."""

import asyncio
import email
import secrets
from collections.abc import Iterator
from email.policy import default
from pathlib import Path
from typing import Any

import httpx
import pytest

from faults import checkers
from faults.load import Load, ask
from faults.report import full
from faults.stage import Running, fill, served, sign_in
from post import Letter
from streaming import Pair, streaming
from support import PASSWORD

Both = tuple[Pair, Running]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    """Run the two, and a service that reads its lists from the one that follows."""
    with streaming(tmp_path / "pair") as pair:
        asyncio.run(fill(pair.primary, tmp_path))
        replicas = {"DENIZEN_REPLICA_URLS": pair.standby.app_url}
        with served(tmp_path, pair.primary.app_url, **replicas) as (service, metrics):
            yield pair, Running(pair.primary, service, metrics, sign_in(service), tmp_path)


class Person:
    """Somebody whom the replica knows, or does not: they came while it was held up."""

    def __init__(self, running: Running, load: Load, client: httpx.AsyncClient) -> None:
        self._running = running
        self._recorder = load.recorder
        self._client = client
        self.name = f"late{secrets.token_hex(6)}"
        self._email = f"{self.name}@example.com"
        self._id = ""
        self._tokens: list[str] = []

    async def come(self) -> None:
        """Be made with a role, and sign in twice."""
        body = {"email": self._email, "username": self.name, "password": PASSWORD}
        made = await self._send(
            "POST",
            "/v1/users",
            self._running.token,
            json=body | {"role": "support", "email_verified": True},
        )
        self._id = made.json()["id"]
        self._tokens = [await self._sign_in() for _ in range(2)]

    async def go(self) -> None:
        """Lose the role, sign out everywhere, sign in, and have the password reset."""
        first, second = self._tokens
        assert (await self._send("GET", "/v1/users?limit=1", first)).status_code == 200
        admin = self._running.token
        await self._send("PATCH", f"/v1/users/{self._id}", admin, json={"role": "user"})
        assert (await self._send("GET", "/v1/users?limit=1", second)).status_code == 403
        await self._end("DELETE", "/v1/me/sessions", first)
        self._tokens.append(await self._sign_in())
        await self._send("POST", "/v1/password-resets", None, json={"email": self._email})
        body = {"token": await self._letter(), "password": f"{PASSWORD} anew"}
        await self._end("POST", "/v1/password-resets/confirm", None, json=body)
        again = await self._send("POST", "/v1/password-resets/confirm", None, json=body)
        assert (again.status_code, again.json()["code"]) == (400, "token_invalid")

    async def _sign_in(self) -> str:
        body = {"email": self._email, "password": PASSWORD}
        token: str = (await self._send("POST", "/v1/sessions", None, json=body)).json()["token"]
        await self._use(token)
        return token

    async def _end(self, method: str, path: str, token: str | None, **options: Any) -> None:
        """Do what ends every session, and knock with all of them at once."""
        numbers = [self._recorder.invoke("revoke", token) for token in self._tokens]
        answer = await self._send(method, path, token, **options)
        for number in numbers:
            self._recorder.end(number, "ok" if answer.is_success else "fail")
        await asyncio.gather(*map(self._use, self._tokens))

    async def _use(self, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        request = self._client.build_request("GET", "/v1/me", headers=headers)
        await ask(self._client, request, self._recorder, "use", token)

    async def _send(
        self, method: str, path: str, token: str | None, **options: Any
    ) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await self._client.request(method, path, headers=headers, **options)

    async def _letter(self) -> str:
        """Give the token of the mail that comes."""
        folder = self._running.folder / "data" / "mail"
        async with asyncio.timeout(30):
            while True:
                for path in folder.glob("*.eml"):
                    message = email.message_from_bytes(path.read_bytes(), policy=default)
                    letter = Letter.read(message) if message["To"] == self._email else None
                    if letter is not None and letter.purpose == "password-reset":
                        return letter.token
                await asyncio.sleep(0.05)


async def _listed(running: Running, client: httpx.AsyncClient, name: str) -> bool:
    headers = {"Authorization": f"Bearer {running.token}"}
    answer = await client.get(f"/v1/users?username={name}", headers=headers)
    return bool(answer.json()["items"])


async def test_f23_replica_that_is_behind_decides_nothing(both: Both) -> None:
    """Whoever is demoted, signed out or has a new password is so at once, in a list or not yet."""
    pair, running = both
    async with (
        running.loaded(clients=1, pace=0.3) as load,  # each act is a mail
        httpx.AsyncClient(base_url=running.url, timeout=30) as client,
    ):
        known, late = [
            [Person(running, load, client) for _ in range(full(10, 2))] for _ in range(2)
        ]
        for person in known:
            await person.come()
        await pair.catch_up()
        await asyncio.to_thread(pair.pause_replay)
        load.recorder.mark("fault")
        for person in late:
            await person.come()
        for person in known + late:
            await person.go()
        listed = [await _listed(running, client, person.name) for person in known + late]
        load.recorder.mark("healed")
        await asyncio.to_thread(pair.resume_replay)
        await load.until(5)
        await pair.catch_up()
        found = [await _listed(running, client, person.name) for person in known + late]

    await running.measure(
        load, "F23", "a replica that is held up", "lists are old; what decides is of now"
    )
    tries = load.recorder.tries()
    assert checkers.alive_after_revocation(tries) == set()
    assert sum(one.kind == "use" and one.outcome == "ok" for one in tries) == 3 * len(found)
    assert listed == [True] * len(known) + [False] * len(late)
    assert all(found)
