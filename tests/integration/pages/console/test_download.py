"""Downloads of the console: bounded in number and in patience, and for whoever may have them."""

import asyncio
import functools
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from denizen.app import Denizen
from denizen.db import bulk
from denizen.db.testing import Databases, superuser
from denizen.errors import OverloadedError
from denizen.exports.scenarios import AT_ONCE
from denizen.pages import download
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter
from support import PASSWORD
from webforms import Browser

Service = Denizen[UserModel]
EXPORT = "/console/export"
MANY = 5000  # users: more than all the buffers between the database and a client hold
_USERS = """
INSERT INTO users (id, email, email_key, username, username_key, role, locale, is_active, version)
SELECT gen_random_uuid(), name || '@example.com', name || '@example.com', name, name,
       'user', 'en', true, 1
FROM (SELECT 'user' || n AS name FROM generate_series(1, $1::int) n) names
"""
GONE = {
    "demoted": "UPDATE users SET role = 'support' WHERE username = 'root'",
    "disabled": "UPDATE users SET is_active = false WHERE username = 'root'",
    "signed out": "DELETE FROM sessions",
}


class Wire:
    """The app, whose export somebody reads in a way of their own.

    Attributes:
        sent: what has been sent of the file.
        is_whole: whether its end was sent.
    """

    def __init__(self, app: FastAPI, read: Callable[[], Awaitable[object]]) -> None:
        self._app = app
        self._read = read
        self.sent = b""
        self.is_whole = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; each piece of the file waits for its reader."""

        async def send_slowly(message: Message) -> None:
            if scope["path"] == EXPORT and message["type"] == "http.response.body":
                self.sent += message["body"]
                self.is_whole = not message.get("more_body")
                await self._read()
            await send(message)

        await self._app(scope, receive, send_slowly)


async def _export(wire: Wire, root: UserModel) -> None:
    browser = Browser.of(wire)  # type: ignore[arg-type]  # an app all the same
    async with browser.client:
        await browser.sign_in(root.email, PASSWORD)
        form = (await browser.open("/console/users")).forms[EXPORT]
        await browser.post(form)


@pytest.fixture
async def crowd(databases: Databases, root: UserModel) -> None:
    """Put many users beside the admin into the database."""
    async with superuser(databases.superuser_url) as watcher:
        await watcher.execute(_USERS, MANY)


@pytest.mark.usefixtures("crowd")
async def test_client_that_takes_nothing_is_left(
    app: FastAPI, denizen: Service, root: UserModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is broken off, and the connection back in its pool, where it serves others."""
    monkeypatch.setattr(download, "PATIENCE", 0.3)
    wire = Wire(app, asyncio.Event().wait)

    async with asyncio.timeout(60):
        await _export(wire, root)

    assert (bool(wire.sent), wire.is_whole) == (True, False)
    assert denizen.db.pool.in_use == 0
    assert len(await denizen.users.list_users(UserFilter(), limit=10)) == 10


@pytest.mark.parametrize("how", list(GONE))
@pytest.mark.usefixtures("crowd")
async def test_t_az_5_who_may_no_longer_export_is_sent_no_more(
    app: FastAPI,
    denizen: Service,
    databases: Databases,
    root: UserModel,
    monkeypatch: pytest.MonkeyPatch,
    *,
    how: str,
) -> None:
    """T-AZ-5: it bites while the file is under way, which is broken off."""
    monkeypatch.setattr(bulk, "_PIECE", 2**14)
    monkeypatch.setattr(download, "_UNASKED", 2**15)

    async def lose_role() -> None:
        async with superuser(databases.superuser_url) as watcher:
            await watcher.execute(GONE[how])

    wire = Wire(app, lose_role)
    await _export(wire, root)

    assert 0 < len(wire.sent) < 2**17
    assert not wire.is_whole
    assert denizen.db.pool.in_use == 0


async def test_who_waits_long_is_asked_for_again(
    app: FastAPI, root: UserModel, crowd: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little was sent; and whoever still may have it gets all of it."""
    asked = 0
    monkeypatch.setattr(download, "_UNASKED_TIME", 0.0)
    again = app.state.denizen.sessions.require_row

    async def count(token: str) -> object:
        nonlocal asked
        asked += 1
        return await again(token)

    monkeypatch.setattr(app.state.denizen.sessions, "require_row", count)
    wire = Wire(app, functools.partial(asyncio.sleep, 0))
    await _export(wire, root)

    assert asked > 5
    assert wire.is_whole
    assert wire.sent.count(b"\n") == MANY + 2


async def test_third_export_at_once_is_refused(
    console: Browser, denizen: Service, root: UserModel
) -> None:
    """503 and when to come again, before anything is taken or written down; then there is room."""
    form = (await console.open("/console/users")).forms[EXPORT]
    may_end = asyncio.Event()

    async def wait(_data: bytes) -> None:
        await may_end.wait()

    slow = [asyncio.create_task(denizen.exports.export(wait, "csv")) for _ in range(AT_ONCE)]
    async with asyncio.timeout(60):
        while len(await denizen.audit.list_events(action="users.exported")) < AT_ONCE:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.01)
        refused = await console.post(form)
        with pytest.raises(OverloadedError):
            await denizen.exports.export(wait, "csv")
    events = await denizen.audit.list_events(action="users.exported")
    may_end.set()
    await asyncio.gather(*slow)
    answer = await console.post(form)

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 1
    assert "The service is busy." in refused.text
    assert len(events) == AT_ONCE
    assert (answer.status_code, root.email in answer.text) == (200, True)
