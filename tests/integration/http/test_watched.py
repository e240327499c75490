"""Every request has an id, and a line in the log that tells nothing of anybody."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from denizen.app import create_app
from denizen.settings import Settings

Line = tuple[str, str, str, int, float]
OURS = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def lines() -> list[Line]:
    """Collect what is told to the log."""
    return []


@pytest.fixture
async def client(settings: Settings, lines: list[Line]) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an app whose requests are told."""

    def tell(*line: str | float) -> None:
        lines.append(line)  # type: ignore[arg-type]

    app = create_app(settings, request_log=tell)
    await app.state.denizen.start()
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://denizen.test") as found:
        yield found
    await app.state.denizen.stop()


async def test_every_answer_has_an_id_of_its_own(
    client: httpx.AsyncClient, lines: list[Line]
) -> None:
    """Found, not found, refused before any route, on the hot route, and on a page."""
    answers = [
        await client.get("/healthz"),
        await client.get("/v1/me"),
        await client.get("/nowhere"),
        await client.get("/account/sign-in"),
        await client.get("/healthz", headers={"Host": "a/b"}),
        await client.post("/v1/sessions", content=b"x"),
    ]
    ids = [answer.headers.get_list("x-request-id") for answer in answers]

    assert all(len(one) == 1 and OURS.fullmatch(one[0]) for one in ids)
    assert [[line[0]] for line in lines] == ids
    assert len({one[0] for one in ids}) == len(answers)


@pytest.mark.parametrize("sent", ["a", "0192-abc.DEF_9", "x" * 40])
async def test_id_of_the_client_is_kept(
    client: httpx.AsyncClient, lines: list[Line], sent: str
) -> None:
    """A proxy in front has named the request already."""
    answer = await client.get("/healthz", headers={"X-Request-Id": sent})

    assert answer.headers["x-request-id"] == lines[0][0] == sent


@pytest.mark.parametrize(
    "sent", ["", "x" * 41, "a b", "ann@example.com", 'a"b', "ä".encode(), b"a\x00b", "{x}"]
)
async def test_what_is_no_id_is_replaced(
    client: httpx.AsyncClient, lines: list[Line], sent: str | bytes
) -> None:
    """Too long, or letters that belong to something else: nobody writes into our log."""
    raw = sent if isinstance(sent, bytes) else sent.encode()
    answer = await client.get("/healthz", headers={b"X-Request-Id": raw})

    assert OURS.fullmatch(answer.headers["x-request-id"])
    assert lines[0][0] == answer.headers["x-request-id"]


async def test_line_tells_the_route_and_nothing_that_was_sent(
    client: httpx.AsyncClient, lines: list[Line]
) -> None:
    """No id of anybody, no query, no body, no header."""
    body = {"email": "canary@example.com", "password": "canary canary canary"}
    await client.post("/v1/sessions", json=body)
    await client.get("/v1/users/canary?q=canary", headers={"Authorization": "Bearer canary"})
    await client.get("/account/password-reset?token=canary")
    await client.get("/canary")
    await client.request("CANARY", "/healthz")

    assert [line[1:4] for line in lines] == [
        ("POST", "/v1/sessions", 401),
        ("GET", "/v1/users/{id}", 422),
        ("GET", "/account/password-reset", 400),
        ("GET", "none", 404),
        ("other", "/healthz", 405),
    ]
    assert all(0 < line[4] < 60 for line in lines)
    assert "canary" not in str(lines)
