"""`DenizenClient` against the service: every operation, every error, an answer that is lost."""

import re
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from denizen.account.schemas import UpdateMe
from denizen.app import Denizen
from denizen.client import DenizenClient, ProblemError
from denizen.users.model import UserModel
from denizen.users.schemas import CreateUser, UpdateUser
from support import PASSWORD, a_user, an_admin

_ID = re.compile(r"/[0-9a-f]{8}-[0-9a-f-]{27}")
UNTYPED = {
    *("/healthz", "/readyz", "/metrics"),
    *("/v1/imports", "/v1/imports/{id}", "/v1/imports/{id}/report"),
}


class Wire(httpx.AsyncBaseTransport):
    """The way to the app: remembers what was asked, and loses answers on demand."""

    def __init__(self, app: FastAPI) -> None:
        self._app = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.asked: list[tuple[str, str]] = []
        self.replayed = 0
        self.losses = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass on, and lose the answer while there are losses left."""
        self.asked.append((request.method.lower(), _ID.sub("/{id}", request.url.path)))
        answer = await self._app.handle_async_request(request)
        if self.losses:
            self.losses -= 1
            raise httpx.ReadError("lost")
        self.replayed += "idempotency-replayed" in answer.headers
        return answer


@pytest.fixture
def wire(app: FastAPI) -> Wire:
    """Give a way to the app."""
    return Wire(app)


@pytest.fixture
async def client(wire: Wire) -> AsyncIterator[DenizenClient]:
    """Give a client that is nobody."""
    async with DenizenClient("http://denizen.test", transport=wire) as found:
        yield found


async def _as_admin(client: DenizenClient, denizen: Denizen[UserModel]) -> DenizenClient:
    admin = await an_admin(denizen)
    return client.signed_in_as((await client.sign_in(admin.email, PASSWORD)).token)


async def test_every_operation_of_the_document_has_a_method(
    app: FastAPI, client: DenizenClient, wire: Wire, denizen: Denizen[UserModel]
) -> None:
    """All that the OpenAPI document lists was asked for, and answered or refused as a problem."""
    admin = await _as_admin(client, denizen)
    key, _ = await denizen.keys.create_key("other", ["sessions:read"])
    user = await admin.create_user(
        CreateUser(email="ann@example.com", username="ann", email_verified=True)
    )
    await client.register("bob@example.com", locale="ru")
    await client.request_verification("bob@example.com")
    await client.request_password_reset("bob@example.com")
    for refused in (
        client.confirm_registration("no token", "bob", PASSWORD),
        client.confirm_verification("no token"),
        client.confirm_password_reset("no token", PASSWORD),
        client.confirm_email_change("no token"),
        client.undo_email_change("no token"),
        client.undo_deletion("no token"),
    ):
        with pytest.raises(ProblemError, match="400 token_invalid"):
            await refused

    assert (await admin.get_user(user.id)).username == "ann"
    changed = await admin.update_user(user.id, UpdateUser(locale="ru"), version=user.version)
    assert changed.locale == "ru"
    assert {u.username async for u in admin.iter_users(limit=1)} > {"ann"}
    assert len((await admin.list_users(q="ann@")).items) == 1
    assert (await admin.list_audit_events(limit=1)).next_cursor
    await admin.delete_user(user.id)
    assert (await admin.update_me(UpdateMe(locale="ru"))).locale == "ru"
    assert (await admin.export_me()).user == await admin.me()
    await admin.change_email("new@example.com", PASSWORD)
    await admin.change_password(PASSWORD, "another long passphrase 78")
    with pytest.raises(ProblemError, match="409 last_admin"):
        await admin.delete_me("another long passphrase 78")
    (session,) = await admin.list_sessions()
    live = await client.signed_in_as(key).introspect(admin._token or "")
    assert live.active
    with pytest.raises(ProblemError, match="404 not_found"):
        await admin.end_session(uuid.uuid4())
    assert session.is_current
    await admin.end_all_sessions()
    with pytest.raises(ProblemError, match="401 not_signed_in"):
        await admin.sign_out()

    document = app.openapi()["paths"]
    listed = {(m, path) for path, of in document.items() if path not in UNTYPED for m in of}
    assert listed <= {(m, p) for m, p in wire.asked}


async def test_lost_answer_is_asked_for_again_and_the_effect_happens_once(
    client: DenizenClient, wire: Wire, denizen: Denizen[UserModel]
) -> None:
    """The client's own key makes the second try a repetition."""
    admin = await _as_admin(client, denizen)
    wire.losses = 2

    user = await admin.create_user(CreateUser(email="ann@example.com", username="ann"))

    assert user.email == "ann@example.com"
    assert wire.replayed == 1
    assert wire.asked[-3:] == [("post", "/v1/users")] * 3


async def test_sign_in_is_not_repeated(
    client: DenizenClient, wire: Wire, denizen: Denizen[UserModel]
) -> None:
    """Without a key a second try could be a second session; the caller decides."""
    user = await a_user(denizen, password=PASSWORD)
    wire.losses = 1

    with pytest.raises(httpx.ReadError):
        await client.sign_in(user.email, PASSWORD)
    assert len(wire.asked) == 1


async def test_problem_says_what_it_is_about(
    client: DenizenClient, denizen: Denizen[UserModel]
) -> None:
    """Status, code, and the fields."""
    admin = await _as_admin(client, denizen)
    user = await a_user(denizen)

    with pytest.raises(ProblemError) as caught:
        await admin.create_user(CreateUser(email=user.email, username=user.username))

    problem = caught.value
    assert (problem.status, problem.code, problem.is_passing) == (409, "email_taken", False)
    assert [issue.field for issue in problem.issues] == ["email", "username"]
