"""What stands in front of every route: hosts, framing, methods, types, headers, other origins."""

import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI

from denizen.app import Denizen, create_app
from denizen.db.testing import Databases, superuser
from denizen.settings import Settings
from denizen.users.model import UserModel
from processes import Service, serving
from running import NOBODY, requests_of
from support import PASSWORD, Api, a_user

EVIL: Final = "evil.example"
TRICKS: Final = (
    "null", "https://evil.example", "https://app.example.com.evil.example", "http://app.example.com",
    "https://evilapp.example.com", "https://app.example.com:444", "https://app.example.co",
    "https://sub.app.example.com", "https://app.example.com/", "https://APP.example.com",
    "https://app.example.com, https://evil.example", "*", "",
)  # fmt: skip


@asynccontextmanager
async def _client(settings: Settings, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an app with other settings."""
    app = create_app(settings.model_copy(update=changes))
    await app.state.denizen.start()
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://denizen.test") as client:
        yield client
    await app.state.denizen.stop()


def _answers(settings: Settings) -> dict[str, tuple[str, str]]:
    return {
        "ok": ("GET", "/healthz"),
        "401": ("GET", "/v1/me"),
        "401, not hot": ("GET", "/v1/users"),
        "404": ("GET", "/nowhere"),
        "405": ("TRACE", "/v1/users"),
        "415": ("POST", "/v1/sessions"),
        "document": ("GET", "/openapi.json"),
        "docs": ("GET", "/docs"),
    }


async def test_t_hdr_1_hsts_is_on_every_answer_where_https_is_configured(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200, 401, 404, 405, 415 and 500 carry it; on http, where browsers ignore it, none does."""
    async with _client(settings, base_url="https://accounts.example.org") as client:
        for name, (method, path) in _answers(settings).items():
            answer = await client.request(method, path)
            hsts = answer.headers.get("strict-transport-security")
            assert hsts == "max-age=31536000; includeSubDomains", (name, answer.status_code)
        monkeypatch.setattr("denizen.sessions.routes._as_json", None)
        app: Any = client._transport
        monkeypatch.setattr(app.app.state.denizen.sessions, "require_row", _broken)
        headers = {"Authorization": "Bearer dz_x"}
        for path in ("/v1/me", "/v1/users"):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, "strict-transport-security" in answer.headers) == (
                500,
                True,
            )
    async with _client(settings) as client:
        assert "strict-transport-security" not in (await client.get("/healthz")).headers


async def _broken(*_: object) -> None:
    raise RuntimeError("a defect")


async def test_t_hdr_2_every_answer_is_held_to_its_type_and_tells_no_address(
    settings: Settings, anonymous: Api
) -> None:
    """Nosniff, no-referrer and a policy that frames nothing, on whatever answers."""
    for name, (method, path) in _answers(settings).items():
        headers = (await anonymous.send(method, path)).headers
        assert headers["x-content-type-options"] == "nosniff", name
        assert headers["referrer-policy"] == "no-referrer", name
        assert "frame-ancestors 'none'" in headers["content-security-policy"], name
        assert "default-src 'none'" in headers["content-security-policy"], name
        assert "server" not in headers
        assert "x-powered-by" not in headers


async def test_t_hdr_3_answers_are_kept_by_nobody_and_sign_out_clears(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """`no-store` on whatever is somebody's; signing out tells the browser to forget."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)
    for path in ("/v1/me", "/v1/me/sessions", "/v1/me/export"):
        assert (await ann.get(path)).headers["cache-control"] == "no-store", path

    left = await ann.delete("/v1/me/sessions/current")

    assert left.headers["clear-site-data"] == '"cache", "cookies", "storage"'


@pytest.mark.parametrize("allowed", [[], ["https://app.example.com"], ["*"]], ids=str)
async def test_t_cors_1_other_origins_are_let_in_by_name_alone(
    settings: Settings, allowed: list[str]
) -> None:
    """Null, suffixes, prefixes, ports and schemes are others; nothing comes with credentials."""
    async with _client(settings, cors_origins=allowed) as client:
        for origin in (*TRICKS, "https://app.example.com"):
            is_named = origin == "https://app.example.com" and bool(allowed)
            asks = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            asks |= {"Access-Control-Request-Headers": "authorization"}
            for answer in (
                await client.get("/healthz", headers={"Origin": origin}),
                await client.options("/v1/me", headers=asks),
            ):
                said = answer.headers.get("access-control-allow-origin")
                expected = "*" if allowed == ["*"] else origin if is_named else None
                assert said in {expected, None if origin == "" else expected}, origin
                assert "access-control-allow-credentials" not in answer.headers


async def test_t_host_1_t_rst_10_links_point_to_the_configured_address_whatever_the_request_says(
    settings: Settings, databases: Databases
) -> None:
    """Host and the forwarded ones, in every form that mails a link; Location is a path alone."""
    changes = {"base_url": "https://accounts.example.org"}
    app = create_app(settings.model_copy(update=changes))
    denizen: Denizen[UserModel] = app.state.denizen
    await denizen.start()
    headers = {"Host": EVIL, "X-Forwarded-Host": EVIL, "X-Forwarded-Proto": "gopher"}
    headers |= {"Forwarded": f"host={EVIL};proto=http", "X-Original-Host": EVIL}
    await a_user(denizen, email="ann@example.com", password=PASSWORD)
    await a_user(denizen, email="new@example.com", password=PASSWORD, verified=False)
    await a_user(denizen, email="root@example.com", password=PASSWORD, role="admin")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{EVIL}") as client:
        api = Api(client)
        for path, email in (
            ("registrations", "eve@example.com"),
            ("password-resets", "ann@example.com"),
            ("email-verifications", "new@example.com"),
        ):
            answer = await api.post(f"/v1/{path}", json={"email": email}, headers=headers)
            assert answer.status_code == 202
        ann = await api.signed_in("ann@example.com", PASSWORD)
        body = {"email": "ann@new.example", "password": PASSWORD}
        await ann.post("/v1/me/email", json=body, headers=headers)
        root = await api.signed_in("root@example.com", PASSWORD)
        body = {"email": "made@example.com", "username": "made"}
        made = await root.post("/v1/users", json=body, headers=headers)
    while await denizen.mail.send_due():
        pass
    await denizen.stop()

    mails = [path.read_text() for path in settings.mail_folder.glob("*.eml")]
    assert len(mails) == 6
    for mail in mails:
        assert EVIL not in mail
        assert "https://accounts.example.org/account" in mail.replace("=\n", "")
    assert made.headers["location"] == f"/v1/users/{made.json()['id']}"


@pytest.mark.parametrize(
    "host",
    ["a/b", "a b", "evil@x", "x:port", "x#y", "x?y", "a,b", "[::1", "x:123456", "x\\y", "%61"],
)
async def test_t_host_1_malformed_host_is_refused(anonymous: Api, host: str) -> None:
    """What is no host is 400, and the connection ends."""
    answer = await anonymous.get("/healthz", headers={"Host": host})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("host", ["x", "x:8000", "my_app.internal", "127.0.0.1:1", "[::1]:80"])
async def test_host_of_any_name_is_taken(anonymous: Api, host: str) -> None:
    """Proxies and watchers call the service by many names."""
    assert (await anonymous.get("/healthz", headers={"Host": host})).status_code == 200


async def test_t_csrf_2_json_of_another_type_is_refused(anonymous: Api, app: FastAPI) -> None:
    """What a form of another origin may send is never read as JSON, on any route with a body."""
    types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "x"]
    types += ["text/plain; application/json", "application/jsonx", "application/json, text/plain"]
    paths = {
        (method, path)
        for method, path in requests_of(app)
        if method in {"POST", "PUT", "PATCH"} and path.startswith("/v1")
    } - {("POST", "/v1/imports")}  # takes a form, from whoever carries a token
    assert len(paths) > 15
    for method, path in paths:
        for kind in types:
            headers = {"Content-Type": kind}
            answer = await anonymous.send(method, path, content=b'{"email":"a"}', headers=headers)
            assert answer.status_code == 415, (method, path, kind)


async def test_t_csrf_3_reading_changes_no_row_but_what_was_last_seen(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases, app: FastAPI
) -> None:
    """GET and HEAD of every route, as an admin, leave every table as it was."""
    user = await a_user(denizen, password=PASSWORD, role="admin")
    root = await anonymous.signed_in(user.email, PASSWORD)
    before = await _rows(databases.superuser_url)
    asked = [path for method, path in requests_of(app) if method == "GET"]
    assert len(asked) > 8

    for path in asked:
        filled = path.replace(NOBODY, str(user.id))
        for method in ("GET", "HEAD"):
            answer = await root.send(method, f"{filled}?token=x" if "token" in path else filled)
            assert answer.status_code < 500, path

    assert await _rows(databases.superuser_url) == before


async def _rows(url: str) -> dict[str, list[str]]:
    """Give every row of every table, but for the columns that note a use."""
    async with superuser(url) as watcher:
        names = await watcher.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        found = {}
        for (name,) in names:
            rows = await watcher.fetch(f"SELECT * FROM {name}")
            kept = [{k: v for k, v in row.items() if k != "last_seen_at"} for row in rows]
            found[name] = sorted(map(repr, kept))
    return found


async def test_undeclared_methods_are_405_and_trace_is_off(anonymous: Api, app: FastAPI) -> None:
    """ASVS 4.1.4 and 13.4.4: each route takes its methods, names them, and no others."""
    taken: dict[str, set[str]] = {}
    for method, path in requests_of(app):
        taken.setdefault(path, set()).add(method)
    every = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"}
    for path, methods in taken.items():
        for method in every - methods - {"CONNECT"}:
            answer = await anonymous.send(method, path)
            assert answer.status_code == 405, (method, path)
            assert set(answer.headers["allow"].split(", ")) == methods, (method, path)


async def test_t_type_1_wrong_types_are_422_on_every_route(
    anonymous: Api, admin: Api, app: FastAPI
) -> None:
    """An object, a list, a number, a flag or null where a text belongs: never a 500."""
    document = app.openapi()
    schemas = document["components"]["schemas"]
    values: list[object] = [{}, {"$ne": None}, [], ["a"], 7, 1.5, True, None, [[["a"]]]]
    tried = 0
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            content = route.get("requestBody", {}).get("content", {})
            reference = content.get("application/json", {}).get("schema", {}).get("$ref")
            if reference is None:
                continue
            schema = schemas[reference.rsplit("/", 1)[1]]
            for name, rule in schema["properties"].items():
                for value in values:
                    if _is_allowed(value, rule):
                        continue
                    body = {name: value}
                    where = path.replace("{id}", NOBODY)
                    who = anonymous if path in _PUBLIC else admin
                    answer = await who.send(method.upper(), where, json=body)
                    expected = {403} if path == "/v1/introspections" else {422, 404}
                    assert answer.status_code in expected, (method, path, body, answer.text)
                    tried += 1
    assert tried > 150


_PUBLIC: Final = ("/v1/registrations", "/v1/sessions", "/v1/password-resets")


def _is_allowed(value: object, rule: dict[str, Any]) -> bool:
    kinds = {rule.get("type")} | {one.get("type") for one in rule.get("anyOf", ())}
    return (value is None and "null" in kinds) or (value is True and "boolean" in kinds)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run `denizen serve`."""
    with serving(tmp_path_factory.mktemp("protocol") / "data", "--workers", "1") as running:
        running.until("/readyz", 200)
        yield running


_HEAD = b"POST /v1/registrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_TE = _HEAD + b"Transfer-Encoding: "
_BODY = b'{"email":"a@example.com"}'
_NEXT = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLING: Final[dict[str, bytes]] = {
    "length and chunks": _HEAD
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two codings": _TE + b"chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked twice": _TE + b"chunked, chunked\r\n\r\n0\r\n\r\n",
    "coding of no name": _TE + b"xchunked\r\n\r\n0\r\n\r\n",
    "blank before the colon": _HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "two lengths": _HEAD + b"Content-Length: 25\r\nContent-Length: 5\r\n\r\n" + _BODY,
    "length with a sign": _HEAD + b"Content-Length: +25\r\n\r\n" + _BODY,
    "length in hex": _HEAD + b"Content-Length: 0x19\r\n\r\n" + _BODY,
    "chunk extension ends in LF": _TE + b"chunked\r\n\r\n19;a\n" + _BODY,
    "chunk of no size": _TE + b"chunked\r\n\r\n0x19\r\n" + _BODY,
    "chunk of less than nothing": _TE + b"chunked\r\n\r\n-1\r\n" + _BODY,
    "chunk without its end": _TE + b"chunked\r\n\r\n19\r\n" + _BODY + b"XX0\r\n",
    "CR alone": b"GET /healthz HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
    "folded line": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: y\r\n z\r\n\r\n",
    "NUL": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "malformed host": b"GET /healthz HTTP/1.1\r\nHost: x/y\r\n\r\n",
}


@pytest.mark.parametrize("request_", SMUGGLING.values(), ids=SMUGGLING)
def test_request_of_two_meanings_ends_the_connection(service: Service, request_: bytes) -> None:
    """ASVS 4.2.1: 400 and closed; whatever follows in the same bytes is never answered.

    A length beside chunks is read by the chunks, as RFC 9112 6.3 allows, and then closed.
    """
    answered, is_closed = _exchange(service.port, request_ + _NEXT)

    statuses = re.findall(rb"^HTTP/1\.1 (\d{3})", answered, re.MULTILINE)
    assert is_closed
    assert len(statuses) == 1
    assert b'"ok"' not in answered
    assert statuses == [b"422" if request_ is SMUGGLING["length and chunks"] else b"400"]


def test_two_honest_requests_in_one_connection_are_both_answered(service: Service) -> None:
    """The control: the reader above would see a second answer."""
    request = _HEAD + b"Content-Length: 25\r\n\r\n" + _BODY

    answered, is_closed = _exchange(service.port, request + _NEXT)

    assert re.findall(rb"^HTTP/1\.1 (\d{3})", answered, re.MULTILINE) == [b"202", b"200"]
    assert b'"ok"' in answered
    assert not is_closed


def test_server_names_no_version_and_http_1_0_is_answered(service: Service) -> None:
    """ASVS 13.4.6: `Server:` is a name; a watcher that speaks HTTP/1.0 needs no host."""
    answered, _ = _exchange(service.port, b"GET /healthz HTTP/1.0\r\n\r\n")

    assert answered.startswith(b"HTTP/1.0 200")
    assert re.findall(rb"^server: (.*)\r$", answered, re.MULTILINE | re.IGNORECASE) == [b"granian"]


def test_start_says_that_no_mail_server_is_set(service: Service) -> None:
    """Without `--dev` nobody looks into a folder: the start says where mails stay."""
    assert "no mail server is set" in service.log.read_text()


def _exchange(port: int, data: bytes) -> tuple[bytes, bool]:
    """Send bytes and give what comes back within a moment, and whether the connection ended."""
    answered = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(data)
        deadline = time.monotonic() + 1.5
        try:
            while (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                if not (read := connection.recv(65536)):
                    return answered, True
                answered += read
        except TimeoutError:
            pass
        except ConnectionResetError:
            return answered, True
    return answered, False
