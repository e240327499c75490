"""The client's address, from the connection to the audit log."""

import contextlib
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from fastapi import FastAPI

from denizen.app import Denizen, create_app
from denizen.network import parse_network
from denizen.settings import Settings
from denizen.users.model import UserModel
from support import PASSWORD, Api, an_admin

SPOOFED = "198.51.100.1, 10.0.0.1"


@contextlib.asynccontextmanager
async def _service(
    settings: Settings, *trusted: str
) -> AsyncIterator[tuple[FastAPI, Denizen[UserModel]]]:
    networks = [parse_network(text) for text in trusted]
    app = create_app(settings.model_copy(update={"trusted_proxies": networks}))
    async with app.router.lifespan_context(app):
        yield app, app.state.denizen


@contextlib.asynccontextmanager
async def _client(app: FastAPI, peer: str) -> AsyncIterator[Api]:
    transport = httpx.ASGITransport(app=app, client=(peer, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://denizen.test") as client:
        yield Api(client)


@pytest.mark.parametrize(
    ("trusted", "peer", "told", "address"),
    [
        ((), "203.0.113.9", [SPOOFED], "203.0.113.9"),
        ((), "127.0.0.1", [SPOOFED], "127.0.0.1"),
        (("127.0.0.1",), "203.0.113.9", [SPOOFED], "203.0.113.9"),
        (("127.0.0.1",), "127.0.0.1", [SPOOFED, "[2001:DB8::7]:443"], "2001:db8::7"),
        (("127.0.0.1", "10.0.0.0/8"), "::ffff:127.0.0.1", [SPOOFED], "198.51.100.1"),
        (("127.0.0.1",), "127.0.0.1", [], "127.0.0.1"),
    ],
)
async def test_t_thr_4_every_act_is_told_from_the_clients_address(
    settings: Settings, trusted: Sequence[str], peer: str, told: Sequence[str], address: str
) -> None:
    """Sign-in, a refused one, an act behind the gate, sign-out: one address for all of them."""
    async with _service(settings, *trusted) as (app, denizen), _client(app, peer) as api:
        api.client.headers = httpx.Headers([("x-forwarded-for", one) for one in told])
        user = await an_admin(denizen)
        wrong = {"email": user.email, "password": PASSWORD + "x"}
        assert (await api.post("/v1/sessions", json=wrong)).status_code == 401
        admin = await api.signed_in(user.email, PASSWORD)
        body = {"email": "new@example.com", "username": "new"}
        created = await admin.post("/v1/users", json=body)
        path = f"/v1/users/{created.json()['id']}"
        assert (await admin.patch(path, json={"locale": "ru"})).status_code == 200
        assert (await admin.delete("/v1/me/sessions/current")).status_code == 204

        events = list(await denizen.audit.list_events())

    assert len(events) == 5
    assert {event.address for event in events} == {address}
