"""`/metrics` of one process: who may ask, what it says, what it never says."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from denizen.app import Denizen, create_app
from denizen.db.errors import ConflictError, UnavailableError
from denizen.db.unit import Db
from denizen.metrics.folder import EVERY, MetricsFolder
from denizen.settings import Settings
from denizen.users.model import UserModel
from post import Post
from processes import free_port
from support import PASSWORD, Api, a_user, an_admin

Told = dict[str, float]


@pytest.fixture
async def scraper(denizen: Denizen[UserModel], anonymous: Api) -> Api:
    """Give a client with a key that may read figures."""
    text, _ = await denizen.keys.create_key("prometheus", ["metrics:read"])
    return Api(anonymous.client, text)


def _read(text: str) -> Told:
    """Give each figure under its name and the values of its labels."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(value for _, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


async def _scrape(scraper: Api) -> Told:
    answer = await scraper.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return _read(answer.text)


async def test_requests_are_counted_by_route_method_and_status(
    scraper: Api, admin: Api, anonymous: Api
) -> None:
    """The template stands for all ids; what no route takes has one name; the hot route counts."""
    me = (await admin.get("/v1/me")).json()["id"]
    await admin.get(f"/v1/users/{me}")
    await admin.get("/v1/users/01890a5d-ac96-774b-bcce-b302099a8057")
    await anonymous.get("/v1/me")
    for path in ("/nobody/knows", "/secret@example.com"):
        await anonymous.get(path)
    await anonymous.send("TRACE", "/v1/users")
    await anonymous.get("/healthz", headers={"Host": "a/b"})
    await anonymous.get("/account/sign-in?next=/account")
    told = await _scrape(scraper)

    assert told["denizen_requests_total{GET,/account/sign-in,2xx}"] == 1
    assert told["denizen_requests_total{GET,/v1/users/{id},2xx}"] == 1
    assert told["denizen_requests_total{GET,/v1/users/{id},4xx}"] == 1
    assert told["denizen_requests_total{GET,/v1/me,2xx}"] == 1
    assert told["denizen_requests_total{GET,/v1/me,4xx}"] == 1
    assert told["denizen_requests_total{GET,none,4xx}"] == 3
    assert told["denizen_requests_total{other,/v1/users,4xx}"] == 1
    assert told["denizen_request_seconds_count{GET,/v1/users/{id}}"] == 2
    assert told["denizen_request_seconds_bucket{+Inf,GET,/v1/users/{id}}"] == 2
    assert 0 < told["denizen_request_seconds_sum{GET,/v1/me}"] < 60


async def test_figures_hold_nothing_of_anybody(scraper: Api, admin: Api) -> None:
    """No id, no address, no token, no name, whatever was asked for."""
    me = (await admin.get("/v1/me")).json()
    await admin.get(f"/v1/users/{me['id']}?q=canary")
    await admin.get("/canary@example.com")
    text = (await scraper.get("/metrics")).text

    for secret in (me["id"], me["email"], me["username"], "canary", admin.token, scraper.token):
        assert str(secret) not in text
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}|\b\d+\.\d+\.\d+\.\d+\b|@", text)


async def test_statements_are_counted_on_every_way_to_the_database(
    scraper: Api, denizen: Denizen[UserModel], admin: Api
) -> None:
    """The direct read, the ORM and a statement that is refused."""
    counts = denizen.db.tally.statements.counts
    before = sum(counts)
    await admin.get("/v1/me")
    assert sum(counts) == before + 1

    await a_user(denizen, email="taken@example.com")
    before = sum(counts)
    answer = await admin.post("/v1/users", json={"email": "taken@example.com", "username": "x"})
    assert answer.status_code == 409
    assert sum(counts) >= before + 3  # who is it, the insert that is refused, and what is taken
    told = await _scrape(scraper)
    assert told["denizen_statement_seconds_count{}"] >= before + 3


async def test_pool_tells_who_waited_and_who_waited_in_vain(settings: Settings) -> None:
    """One connection for three: the second waits and gets it, the third does not."""
    changes = {"database_pool_size": 1, "database_pool_timeout": 0.3}
    denizen: Denizen[UserModel] = Denizen(settings=settings.model_copy(update=changes))
    await denizen.start()
    try:
        async with denizen.db.make_connection():
            assert denizen.db.pool.in_use == 1
            with pytest.raises(UnavailableError):
                async with denizen.db.make_connection():
                    pass
        assert await asyncio.gather(*(denizen.keys.list_keys() for _ in range(2))) == [[], []]
        state = denizen.db.pool
    finally:
        await denizen.stop()

    assert (state.size, state.in_use, state.timed_out) == (1, 0, 1)
    assert state.waited == 2


async def test_reruns_are_counted_by_the_class_of_their_reason(
    scraper: Api, denizen: Denizen[UserModel]
) -> None:
    """A deadlock, a backend that was shut down, and nobody who answers."""
    reasons = [
        ConflictError(sqlstate="40P01"),
        UnavailableError(connection_lost=True, sqlstate="57P01"),
        UnavailableError(connection_lost=True),
        UnavailableError(connection_lost=True),
    ]

    async def unit(db: Db) -> None:
        if reasons:
            raise reasons.pop()

    await denizen.db.run(unit)
    told = await _scrape(scraper)

    counted = {state: told[f"denizen_reruns_total{{{state}}}"] for state in ("40", "57", "none")}
    assert counted == {"40": 1, "57": 1, "none": 2}


async def test_queue_of_hashes_and_limits_are_told(
    scraper: Api, denizen: Denizen[UserModel], anonymous: Api
) -> None:
    """What was hashed, what waits, what was refused, and by which limit."""
    body = {"email": "nobody@example.com", "password": PASSWORD}
    for _ in range(11):
        await anonymous.post("/v1/sessions", json=body)
    denizen.hasher.queue.refused += 2
    told = await _scrape(scraper)

    assert told["denizen_hashes_total{}"] == denizen.hasher.evaluations > 0
    assert told["denizen_hashes_refused_total{}"] == 2
    assert (told["denizen_hash_queue_waiting{}"], told["denizen_hash_queue_running{}"]) == (0, 0)
    assert told["denizen_throttled_total{sign_in_pair}"] == 1


async def test_outbox_tells_what_waits_and_since_when(
    scraper: Api, denizen: Denizen[UserModel], anonymous: Api, post: Post
) -> None:
    """Waiting and its age from the database, sent by those who send."""
    empty = await _scrape(scraper)
    await anonymous.post("/v1/registrations", json={"email": "new@example.com"})
    await asyncio.sleep(0.05)
    waiting = await _scrape(scraper)
    await post.deliver()
    sent = await _scrape(scraper)

    names = ("denizen_outbox_waiting{}", "denizen_outbox_age_seconds{}")
    assert [empty[name] for name in names] == [0, 0]
    assert waiting[names[0]] == 1
    assert 0.05 <= waiting[names[1]] < 60
    assert [sent[name] for name in names] == [0, 0]
    assert sent["denizen_mails_total{sent}"] == 1


async def test_database_that_is_away_is_a_figure(
    denizen: Denizen[UserModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks is told all the rest, and that the database did not answer."""
    from denizen.metrics.scenarios import MetricsScenarios

    metrics = MetricsScenarios(denizen.parts)

    async def away(*_: object, **__: object) -> None:
        raise UnavailableError(connection_lost=True)

    assert _read((await metrics.tell()).decode())["denizen_database_up{}"] == 1
    monkeypatch.setattr(denizen.db, "run", away)
    told = _read((await metrics.tell()).decode())

    assert (told["denizen_database_up{}"], "denizen_outbox_waiting{}" in told) == (0, False)
    assert told["denizen_processes{}"] == 1


@contextlib.asynccontextmanager
async def _open(app: FastAPI) -> AsyncIterator[Denizen[UserModel]]:
    async with app.router.lifespan_context(app):
        yield app.state.denizen


async def _ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_port_of_this_machine_asks_for_no_key_and_tells_of_all_processes(
    settings: Settings, tmp_path: Path
) -> None:
    """Two apps share the port and a folder: whichever answers adds up both."""
    port = free_port()
    chosen = settings.model_copy(update={"metrics_port": port})
    MetricsFolder.prepare(tmp_path / "run")
    apps = [create_app(chosen, metrics_folder=MetricsFolder(tmp_path / "run")) for _ in range(2)]
    async with _open(apps[0]) as one, _open(apps[1]) as two:
        for denizen, count in ((one, 2), (two, 3)):
            denizen.parts.tally.throttled["sign_in_pair"] += count
        await asyncio.sleep(EVERY * 2)
        for _ in range(4):
            answer = await _ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert f"Content-Length: {len(body)}\r\n".encode() in head
            told = _read(body.decode())
            assert told["denizen_throttled_total{sign_in_pair}"] == 5
            assert told["denizen_processes{}"] == 2


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"GET /v1/users HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404"),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404"),
        (b"\r\n\r\n", b""),
        (b"nonsense\r\n\r\n", b""),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 70_000, b""),
    ],
)
async def test_port_of_this_machine_answers_nothing_else(
    settings: Settings, request_: bytes, answer: bytes
) -> None:
    """Other paths and methods are not found; what is no request is closed, and it goes on."""
    port = free_port()
    async with _open(create_app(settings.model_copy(update={"metrics_port": port}))):
        with contextlib.suppress(ConnectionResetError):
            assert (await _ask(port, request_))[:12] == answer
        good = await _ask(port, b"GET /metrics HTTP/1.0\r\n\r\n")
        assert good.startswith(b"HTTP/1.1 200 OK")


async def test_port_is_of_this_machine_alone_and_closed_at_the_end(settings: Settings) -> None:
    """It listens on 127.0.0.1, and on nothing once the app has ended."""
    port = free_port()
    async with _open(create_app(settings.model_copy(update={"metrics_port": port}))):
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", port))
    with socket.socket() as late, pytest.raises(ConnectionRefusedError):
        late.connect(("127.0.0.1", port))


async def test_people_are_shown_no_figures(admin: Api, denizen: Denizen[UserModel]) -> None:
    """Not even an admin: figures are for keys with the scope."""
    await an_admin(denizen)
    refused = await admin.get("/metrics")

    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
