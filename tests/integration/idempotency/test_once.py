"""Idempotency-Key: sent again, a request happens once and is answered alike."""

import asyncio
import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from denizen.app import Denizen, create_app
from denizen.db.errors import OutcomeUnknownError, UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases, superuser
from denizen.db.unit import Db
from denizen.idempotency.queries import Claim, claim_key, release_key
from denizen.passwords.queue import Place
from denizen.settings import Settings
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter
from support import PASSWORD, Api, a_user, until_a_lock_is_waited_for

NEW_PASSWORD = "another long passphrase 78"
NEW = {"email": "new@example.com", "username": "new"}
KEY = {"Idempotency-Key": "canary-key-1"}
UNKNOWING = {("POST", "/v1/introspections")}
UPLOADS = {("POST", "/v1/imports")}  # no JSON: their own tests send them twice
ROUTES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/users"): NEW,
    ("PATCH", "/v1/users/{id}"): {"locale": "ru"},
    ("DELETE", "/v1/users/{id}"): None,
    ("PATCH", "/v1/me"): {"username": "renamed"},
    ("PUT", "/v1/me/password"): {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
    ("POST", "/v1/me/email"): {"email": "moved@example.com", "password": PASSWORD},
    ("POST", "/v1/me/deletion"): {"password": PASSWORD},
    ("DELETE", "/v1/me/sessions"): None,
    ("DELETE", "/v1/me/sessions/current"): None,
    ("DELETE", "/v1/me/sessions/{id}"): None,
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Give settings with patience: what is counted is effects, not how busy the machine is."""
    return settings.model_copy(update={"database_pool_timeout": 20.0})


async def _count(databases: Databases, what: str) -> int:
    async with superuser(databases.superuser_url) as watcher:
        return int(await watcher.fetchval(f"SELECT count(*) FROM {what}"))


async def _users(denizen: Denizen[UserModel]) -> int:
    return len(list(await denizen.users.list_users(UserFilter())))


def test_every_route_behind_the_gate_that_changes_something_is_walked(app: FastAPI) -> None:
    """A new route must be put into the table, or be named as one that knows no keys."""
    found = {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if method != "get" and operation.get("security") and path.startswith("/v1/")
    }

    assert found == set(ROUTES) | UNKNOWING | UPLOADS


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_replays_its_first_answer(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases, *, method: str, path: str
) -> None:
    """Same status, body and headers, marked as replayed; and nothing happens a second time."""
    await a_user(denizen, role="admin")
    console = await a_user(denizen, password=PASSWORD, role="admin")
    other = await a_user(denizen)
    me = await anonymous.signed_in(console.email, PASSWORD)
    if "sessions" in path:
        await anonymous.signed_in(console.email, PASSWORD)
        items = (await me.get("/v1/me/sessions")).json()["items"]
        (target,) = [item["id"] for item in items if not item["is_current"]]
    else:
        target = str(other.id)
    body, where = ROUTES[method, path], path.replace("{id}", target)

    first = await me.send(method, where, json=body, headers=KEY)
    assert first.is_success, first.text
    await databases.run("UPDATE users SET erase_after = NULL")  # to sign in after a deletion
    password = NEW_PASSWORD if path.endswith("password") else PASSWORD
    again = await anonymous.signed_in(console.email, password)
    changes = "audit_events WHERE action <> 'session.started'"
    before = await _count(databases, changes), await _count(databases, "outbox")
    second = await again.send(method, where, json=body, headers=KEY)

    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    for name in ("etag", "location", "content-type"):
        assert second.headers.get(name) == first.headers.get(name)
    assert (await _count(databases, changes), await _count(databases, "outbox")) == before


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_puts_effect_and_answer_into_one_transaction(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases, *, method: str, path: str
) -> None:
    """The answer can't be stored: nothing has happened, to no table."""
    await a_user(denizen, role="admin")
    console = await a_user(denizen, password=PASSWORD, role="admin")
    other = await a_user(denizen)
    me = await anonymous.signed_in(console.email, PASSWORD)
    (session,) = (await me.get("/v1/me/sessions")).json()["items"]
    target = session["id"] if "sessions" in path else str(other.id)
    await databases.run(
        "ALTER TABLE idempotency_keys ADD CONSTRAINT none CHECK (status IS NULL) NOT VALID"
    )
    before = await _held(databases)

    where = path.replace("{id}", target)
    answer = await me.send(method, where, json=ROUTES[method, path], headers=KEY)

    assert (answer.status_code, answer.json()["code"]) == (409, "constraint")
    assert await _held(databases) == before


async def _held(databases: Databases) -> list[str]:
    tables = ("users", "sessions", "outbox", "audit_events", "tokens", "idempotency_keys")
    async with superuser(databases.superuser_url) as watcher:
        rows = [await watcher.fetch(f"SELECT t::text FROM {name} t") for name in tables]
    return sorted(row[0] for found in rows for row in found)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/users", NEW | {"locale": "ru"}),
        ("PATCH", "/v1/me", {"locale": "ru"}),
    ],
)
async def test_key_of_another_request_is_422(
    admin: Api, denizen: Denizen[UserModel], method: str, path: str, body: Any
) -> None:
    """Another body, another route; nothing is done."""
    assert (await admin.post("/v1/users", json=NEW, headers=KEY)).status_code == 201

    other = await admin.send(method, path, json=body, headers=KEY)

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert await _users(denizen) == 2


async def test_same_json_in_another_order_is_the_same_request(
    admin: Api, denizen: Denizen[UserModel]
) -> None:
    """Fields are compared, not bytes."""
    await admin.post("/v1/users", json=NEW, headers=KEY)
    turned = dict(reversed(NEW.items()))

    again = await admin.post("/v1/users", json=turned, headers=KEY)

    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert await _users(denizen) == 2


async def test_running_request_is_409_and_then_replayed(
    admin: Api, databases: Databases, denizen: Denizen[UserModel]
) -> None:
    """While the first waits for a row the second is told to come again; then it gets the answer."""
    user = await a_user(denizen)
    path, change = f"/v1/users/{user.id}", {"locale": "ru"}
    async with superuser(databases.superuser_url) as other, other.transaction():
        await other.execute("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", user.id)
        first = asyncio.create_task(admin.patch(path, json=change, headers=KEY))
        await until_a_lock_is_waited_for(other)
        busy = await admin.patch(path, json=change, headers=KEY)

    assert (busy.status_code, busy.json()["code"]) == (409, "idempotency_busy")
    assert busy.headers["retry-after"]
    done, replayed = await first, await admin.patch(path, json=change, headers=KEY)
    assert done.status_code == 200
    assert (replayed.json(), replayed.headers["idempotency-replayed"]) == (done.json(), "true")


async def test_fifty_at_once_under_one_key_have_one_effect(
    admin: Api, denizen: Denizen[UserModel]
) -> None:
    """One 201 that is no replay; the others replay it, or are told that it is running."""
    answers = await asyncio.gather(
        *(admin.post("/v1/users", json=NEW, headers=KEY) for _ in range(50))
    )

    told = Counter((a.status_code, a.headers.get("idempotency-replayed")) for a in answers)
    assert told.pop((201, None)) == 1
    assert set(told) <= {(201, "true"), (409, None)}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {
        "idempotency_busy"
    }
    assert await _users(denizen) == 2


async def test_refused_try_may_be_repeated(admin: Api, denizen: Denizen[UserModel]) -> None:
    """A 409, a 422 and a 412 are not kept: the same key works once the cause is gone."""
    taken = await a_user(denizen, username="new")
    refused = await admin.post("/v1/users", json=NEW, headers=KEY)
    invalid = await admin.post("/v1/users", json=NEW | {"locale": "xx"}, headers=KEY)
    path = f"/v1/users/{taken.id}"
    stale = await admin.patch(path, json={"locale": "ru"}, headers=KEY | {"If-Match": '"9"'})
    await denizen.users.delete_user(taken.id, at_once=True)

    made = await admin.post("/v1/users", json=NEW, headers=KEY)

    assert [a.status_code for a in (refused, invalid, stale, made)] == [409, 422, 412, 201]
    assert "idempotency-replayed" not in made.headers


async def test_wrong_password_may_be_corrected_under_the_same_key(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """The fingerprint leaves passwords out: a retry with the right one is the same request."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)
    body = {"current_password": "wrong", "new_password": NEW_PASSWORD}
    wrong = await ann.put("/v1/me/password", json=body, headers=KEY)
    right = await ann.put(
        "/v1/me/password", json=body | {"current_password": PASSWORD}, headers=KEY
    )
    again = await ann.put("/v1/me/password", json=body, headers=KEY)

    assert [a.status_code for a in (wrong, right, again)] == [403, 204, 204]
    assert again.headers["idempotency-replayed"] == "true"


async def test_table_holds_digests_and_no_secret(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """Neither the key, nor a password, nor a fingerprint that passwords can be guessed from."""
    user = await a_user(denizen, password=PASSWORD, role="admin")
    console = await anonymous.signed_in(user.email, PASSWORD)
    rows = []
    for number, password in enumerate((NEW_PASSWORD, NEW_PASSWORD + "9")):
        body = {"email": f"x{number}@example.com", "username": "x", "password": password}
        await console.post("/v1/users", json=body | {"email": "x@example.com"}, headers=KEY)
        async with superuser(databases.superuser_url) as watcher:
            rows.append(await watcher.fetchrow("SELECT * FROM idempotency_keys"))
            await watcher.execute("DELETE FROM idempotency_keys")
            await watcher.execute("DELETE FROM users WHERE username = 'x'")

    assert rows[0]["fingerprint"] == rows[1]["fingerprint"]
    assert {len(rows[0][name]) for name in ("fingerprint", "key_digest")} == {32}
    stored = str([dict(row) for row in rows])
    assert not [word for word in (KEY["Idempotency-Key"], NEW_PASSWORD, "argon2") if word in stored]


async def test_key_belongs_to_who_sent_it(
    admin: Api, anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """The same key of another admin, or of an API key, is another key."""
    second = await a_user(denizen, password=PASSWORD, role="admin")
    other = await anonymous.signed_in(second.email, PASSWORD)
    key, _ = await denizen.keys.create_key("tests", ["users:write"])
    bodies = [{"email": f"n{n}@example.com", "username": f"n{n}"} for n in range(3)]
    senders = [admin, other, Api(anonymous.client, key)]

    answers = [
        await api.post("/v1/users", json=body, headers=KEY)
        for api, body in zip(senders, bodies, strict=True)
    ]

    assert [answer.status_code for answer in answers] == [201] * 3


async def test_key_is_forgotten_after_a_day(
    admin: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """Just inside 24 hours it replays; after them it is a new key, and its row may go."""
    await admin.post("/v1/users", json=NEW, headers=KEY)
    denizen.clock.skew = timedelta(hours=24, seconds=-20)
    await denizen.housekeeper.clean_up()
    inside = await admin.post("/v1/users", json=NEW, headers=KEY)
    denizen.clock.skew = timedelta(hours=24, seconds=1)
    outside = await admin.post("/v1/users", json=NEW, headers=KEY)
    later = await admin.post("/v1/users", json=NEW | {"username": "new2"}, headers=KEY)

    assert (inside.status_code, outside.status_code) == (201, 409)
    assert later.json()["code"] == "email_taken"
    await admin.post("/v1/users", json={"email": "b@b.example", "username": "b"}, headers=KEY)
    denizen.clock.skew = timedelta(hours=49)
    await denizen.housekeeper.clean_up()
    assert await _count(databases, "idempotency_keys") == 0


async def test_f11_answer_lost_after_commit_is_repeated(
    admin: Api, denizen: Denizen[UserModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database commits and its answer is lost: 503 `outcome_unknown`, and a retry replays."""
    commit = DBSessionManager._commit
    lost: list[bool] = []

    async def losing(self: DBSessionManager, connection: Any, work: Any) -> Any:
        users = await connection.scalar(text("SELECT count(*) FROM users"))
        result = await commit(self, connection, work)
        if users == 2 and not lost:  # the unit that has made the user
            lost.append(True)
            raise OutcomeUnknownError(connection_lost=True)
        return result

    monkeypatch.setattr(DBSessionManager, "_commit", losing)
    first = await admin.post("/v1/users", json=NEW, headers=KEY)
    second = await admin.post("/v1/users", json=NEW, headers=KEY)

    assert (first.status_code, first.json()["code"]) == (503, "outcome_unknown")
    assert (second.status_code, second.headers["idempotency-replayed"]) == (201, "true")
    assert await _users(denizen) == 2


@pytest.mark.parametrize("lost", [("take",), ("_release",), ("take", "_release")])
async def test_key_whose_claim_nobody_knows_is_free_again(
    admin: Api, denizen: Denizen[UserModel], monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...]
) -> None:
    """The answers to COMMIT are lost, of the claim or of giving it back: no lease is waited for."""
    run, left = denizen.db.run, list(lost)

    async def losing(unit: Any, **options: Any) -> Any:
        found = await run(unit, **options)
        if left and f".{left[0]}." in unit.__qualname__:
            del left[0]
            raise OutcomeUnknownError
        return found

    monkeypatch.setattr(denizen.db, "run", losing)
    taken = NEW if lost[0] == "take" else {**NEW, "username": "no name at all"}
    first = await admin.post("/v1/users", json=taken, headers=KEY)
    again = await admin.post("/v1/users", json=taken, headers=KEY)

    assert left == []
    expected = (503, 201) if lost[0] == "take" else (422, 422)
    assert (first.status_code, again.status_code) == expected, (first.text, again.text)
    assert (again.json().get("code")) != "idempotency_busy"


async def test_key_whose_claim_was_cancelled_after_its_commit_is_free_again(
    admin: Api, denizen: Denizen[UserModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit outlasts a cancellation, and then the request ends: no lease is waited for."""
    run, left = denizen.db.run, [True]

    async def cancelled(unit: Any, **options: Any) -> Any:
        found = await run(unit, **options)
        if left and ".take." in unit.__qualname__:
            left.clear()
            raise asyncio.CancelledError
        return found

    monkeypatch.setattr(denizen.db, "run", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await admin.post("/v1/users", json=NEW, headers=KEY)
    again = await admin.post("/v1/users", json=NEW, headers=KEY)

    assert again.status_code == 201, again.text


async def test_claim_that_is_under_way_while_it_is_given_back_does_not_stay(
    denizen: Denizen[UserModel], databases: Databases
) -> None:
    """Its COMMIT was sent and nobody heard of it: giving it back waits until it is there."""
    keys, now = denizen.parts.tables.idempotency, denizen.clock.db_now
    claim = Claim(uuid.uuid4(), b"k" * 32, b"f" * 32, uuid.uuid4(), is_sure=False)
    async with superuser(databases.superuser_url) as watcher:
        async with denizen.db.get_session() as db:
            assert await claim_key(db, keys, claim, now) is None
            giving = asyncio.create_task(denizen.db.run(lambda db: release_key(db, keys, claim)))
            await until_a_lock_is_waited_for(watcher)
        await giving

    assert await _count(databases, "idempotency_keys") == 0


async def test_key_that_could_not_be_given_back_is_free_when_the_database_is_back(
    admin: Api, denizen: Denizen[UserModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away from the effect on: the first who asks again under the key waits for no lease."""
    run, away = denizen.db.run, ["Claims._release.", "Once.run."]

    async def failing(unit: Any, **options: Any) -> Any:
        async def broken(db: Db) -> None:
            await unit(db)
            raise UnavailableError

        return await run(broken if unit.__qualname__.startswith(tuple(away)) else unit, **options)

    monkeypatch.setattr(denizen.db, "run", failing)
    first = await admin.post("/v1/users", json=NEW, headers=KEY)
    away.pop()
    still_away = await admin.post("/v1/users", json=NEW, headers=KEY)
    away.clear()
    again = await admin.post("/v1/users", json=NEW, headers=KEY)

    assert [first.status_code, still_away.status_code, again.status_code] == [503, 409, 201]


async def test_crash_between_claim_and_effect_heals_after_the_lease(
    admin: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """A claim whose request died is 409 for half a minute, and then taken over."""
    await admin.post("/v1/users", json=NEW, headers=KEY)
    await databases.run("DELETE FROM users WHERE username = 'new'")
    await databases.run("UPDATE idempotency_keys SET status = NULL, headers = NULL, body = NULL")

    dead = await admin.post("/v1/users", json=NEW, headers=KEY)
    denizen.clock.skew = timedelta(seconds=31)
    healed = await admin.post("/v1/users", json=NEW, headers=KEY)

    assert (dead.status_code, healed.status_code) == (409, 201)


async def test_claim_that_was_taken_over_undoes_its_own_effect(
    admin: Api, denizen: Denizen[UserModel], databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request slower than its lease ends in 409 and nothing: the one after it counts."""
    hashed = await denizen.hasher.hash(NEW_PASSWORD)
    body = NEW | {"password": NEW_PASSWORD}
    answers: list[httpx.Response] = []

    async def slow(_password: str, *_client: object) -> str:
        if not answers:
            answers.append(httpx.Response(0))
            denizen.clock.skew = timedelta(seconds=31)
            answers[0] = await admin.post("/v1/users", json=body, headers=KEY)
            await databases.run("DELETE FROM users WHERE username = 'new'")
        return hashed

    monkeypatch.setattr(denizen.hasher, "hash", slow)
    first = await admin.post("/v1/users", json=body, headers=KEY)
    third = await admin.post("/v1/users", json=body, headers=KEY)

    assert [first.status_code, answers[0].status_code, third.status_code] == [409, 201, 201]
    assert third.headers["idempotency-replayed"] == "true"
    assert await _users(denizen) == 1


@pytest.fixture
def narrow(settings: Settings) -> Settings:
    """Give settings with one connection, for which nobody waits long."""
    return settings.model_copy(update={"database_pool_size": 1, "database_pool_timeout": 0.5})


@pytest.mark.parametrize("path", [path for _, path in ROUTES if "password" in str(ROUTES[_, path])])
async def test_no_connection_is_held_while_hashing_under_a_key(
    narrow: Settings, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a pool of one the request passes, and the connection is free while it hashes."""
    app = create_app(narrow)
    denizen: Denizen[UserModel] = app.state.denizen
    await denizen.start()
    held: list[int] = []
    run = Place.run

    async def watched(place: Place, work: Any, **options: Any) -> Any:
        held.append(denizen.db.engine.pool.checkedout())  # type: ignore[attr-defined]
        return await run(place, work, **options)

    try:
        user = await a_user(denizen, password=PASSWORD)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://d.test") as client:
            ann = await Api(client).signed_in(user.email, PASSWORD)
            monkeypatch.setattr(Place, "run", watched)
            (method,) = [m for m, one in ROUTES if one == path]
            answer = await ann.send(method, path, json=ROUTES[method, path], headers=KEY)
    finally:
        await denizen.stop()

    assert answer.is_success, answer.text
    assert held
    assert set(held) == {0}


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
async def test_what_is_no_key_is_422(admin: Api, denizen: Denizen[UserModel], key: str) -> None:
    """Empty, endless or beyond ASCII: refused by name, and nothing is done."""
    headers = [(b"Idempotency-Key", key.encode())]
    answer = await admin.client.post(
        "/v1/users",
        json=NEW,
        headers=[*headers, (b"Authorization", f"Bearer {admin.token}".encode())],
    )

    assert answer.status_code == 422
    assert [issue["field"] for issue in answer.json()["errors"]] == ["Idempotency-Key"]
    assert await _users(denizen) == 1


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000])
async def test_delete_under_a_key_takes_no_body(admin: Api, content: bytes) -> None:
    """Whatever is sent along with a DELETE, it is not read, and breaks nothing."""
    path = "/v1/me/sessions/current"
    answer = await admin.send("DELETE", path, content=content, headers=KEY)

    assert answer.status_code == 204, answer.text


async def test_introspection_and_public_forms_know_no_keys(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """The same key with other requests: each is answered for itself, and no row is kept."""
    key, _ = await denizen.keys.create_key("tests", ["sessions:read"])
    service = Api(anonymous.client, key)
    user = await a_user(denizen, password=PASSWORD)
    sign_in = {"email": user.email, "password": PASSWORD}
    answers = [
        await anonymous.post("/v1/sessions", json=sign_in, headers=KEY),
        await anonymous.post("/v1/sessions", json=sign_in, headers=KEY),
        await anonymous.post("/v1/registrations", json={"email": "a@b.example"}, headers=KEY),
        await service.post("/v1/introspections", json={"token": "x"}, headers=KEY),
        await service.post("/v1/introspections", json={"token": "y"}, headers=KEY),
    ]

    assert [answer.status_code for answer in answers] == [201, 201, 202, 200, 200]
    assert answers[0].json()["token"] != answers[1].json()["token"]
    assert await _count(databases, "idempotency_keys") == 0


async def test_key_of_somebody_not_signed_in_is_not_claimed(
    anonymous: Api, databases: Databases
) -> None:
    """401, and no row that anybody could fill the table with."""
    answer = await anonymous.post("/v1/users", json=NEW, headers=KEY)

    assert answer.status_code == 401
    assert await _count(databases, "idempotency_keys") == 0


async def test_unit_that_is_rerun_keeps_its_claim(
    admin: Api, denizen: Denizen[UserModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that breaks before COMMIT: the whole request runs again, and is answered."""
    runs: list[int] = []
    commit = DBSessionManager._commit

    async def breaking(self: DBSessionManager, connection: Any, work: Any) -> Any:
        if await connection.scalar(text("SELECT count(*) FROM users")) == 2 and not runs:
            runs.append(1)
            driver = (await connection.get_raw_connection()).driver_connection
            driver.terminate()
        return await commit(self, connection, work)

    monkeypatch.setattr(DBSessionManager, "_commit", breaking)
    answer = await admin.post("/v1/users", json=NEW, headers=KEY)
    again = await admin.post("/v1/users", json=NEW, headers=KEY)

    assert runs
    assert (answer.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotency-replayed"] == "true"
    assert await _users(denizen) == 2
