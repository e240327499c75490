"""Signing in, being somebody, signing out."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.errors import SignInFailedError
from denizen.passwords.hasher import Argon2Parameters, PasswordHasher
from denizen.passwords.queue import FairQueue, Place
from denizen.sessions.model import Token
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from support import PASSWORD, Api, StatementCounter, a_user


async def test_sign_in_answers_token_user_and_absolute_end(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """201 carries the token, thirty days of life, and the user; the spelling does not matter."""
    await a_user(denizen, email="Ann@example.com", password=PASSWORD)

    body = {"email": "aNN@EXAMPLE.com", "password": PASSWORD}
    answer = await anonymous.post("/v1/sessions", json=body)

    assert answer.status_code == 201
    session = answer.json()
    assert set(session) == {"token", "expires_at", "user"}
    assert session["token"].startswith("dz_")
    left = datetime.fromisoformat(session["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)
    assert session["user"]["email"] == "Ann@example.com"


async def test_every_refusal_is_the_same(anonymous: Api, denizen: Denizen[UserModel]) -> None:
    """Wrong, unknown, disabled, unconfirmed and without a password: one 401, byte for byte."""
    users = {
        "wrong": await a_user(denizen, password=PASSWORD),
        "disabled": await a_user(denizen, password=PASSWORD),
        "unconfirmed": await a_user(denizen, password=PASSWORD, verified=False),
        "passwordless": await a_user(denizen),
    }
    await denizen.users.update_user(users["disabled"].id, UpdateUser(is_active=False))
    tries = [(user.email, PASSWORD + "x" * (kind == "wrong")) for kind, user in users.items()]
    tries.append(("nobody@example.com", PASSWORD))
    tries.append((users["passwordless"].email, ""))

    answers = []
    for email, password in tries:
        before = denizen.hasher.evaluations
        body = {"email": email, "password": password}
        answers.append(await anonymous.post("/v1/sessions", json=body))
        assert denizen.hasher.evaluations == before + 1, email

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert len({tuple(sorted(answer.headers)) for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"] == "Bearer"


async def test_t_ses_1_database_holds_no_token(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """What is stored is a digest: neither the token nor its secret is in the table."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)
    token = Token.parse(ann.token or "")
    assert token is not None

    async with superuser(databases.superuser_url) as watcher:
        row = await watcher.fetchrow("SELECT * FROM sessions")

    assert row["token_digest"] == hashlib.sha256(token.secret).digest()
    assert token.secret not in {bytes(value) for value in row if isinstance(value, bytes)}
    assert row["user_id"] == user.id


async def test_t_ses_5_sign_out_kills_this_session_alone(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """After 204 the token is dead, a second sign-out is 401, and other devices go on."""
    user = await a_user(denizen, password=PASSWORD)
    phone = await anonymous.signed_in(user.email, PASSWORD)
    laptop = await anonymous.signed_in(user.email, PASSWORD)

    assert (await phone.delete("/v1/me/sessions/current")).status_code == 204

    assert (await phone.get("/v1/me")).status_code == 401
    assert (await phone.delete("/v1/me/sessions/current")).status_code == 401
    assert (await laptop.get("/v1/me")).status_code == 200


async def test_t_ses_4_session_ends_at_its_absolute_end(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """Just inside thirty days the token is good, just outside it is not, however busy it is."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)

    for day in range(6, 30, 6):
        denizen.clock.skew = timedelta(days=day)
        assert (await ann.get("/v1/me")).status_code == 200
    denizen.clock.skew = timedelta(days=30, seconds=-5)
    assert (await ann.get("/v1/me")).status_code == 200
    denizen.clock.skew = timedelta(days=30, seconds=5)
    assert (await ann.get("/v1/me")).status_code == 401


async def test_t_az_5_demotion_bites_at_the_next_request(
    admin: Api, anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """A role is read at every request: the demoted are refused at once."""
    other = await a_user(denizen, password=PASSWORD, role="admin")
    second = await anonymous.signed_in(other.email, PASSWORD)
    assert (await second.get("/v1/users")).status_code == 200

    await admin.patch(f"/v1/users/{other.id}", json={"role": "user"})

    refused = await second.get("/v1/users")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")


@pytest.mark.parametrize(
    ("role", "read", "write"), [("user", 403, 403), ("support", 200, 403), ("admin", 200, 201)]
)
async def test_roles_reach_as_far_as_the_contract_says(
    anonymous: Api, denizen: Denizen[UserModel], role: str, read: int, write: int
) -> None:
    """Users see nobody, support reads, admins write."""
    user = await a_user(denizen, password=PASSWORD, role=role)  # type: ignore[arg-type]
    ann = await anonymous.signed_in(user.email, PASSWORD)

    body = {"email": "new@example.com", "username": "new"}
    statuses = ((await ann.get("/v1/users")).status_code, (await ann.post("/v1/users", json=body)))

    assert (statuses[0], statuses[1].status_code) == (read, write)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YTpi",
        "bearer dz_" + "A" * 64,
        "dz_" + "A" * 64,
    ],
)
async def test_without_a_good_token_the_answer_is_401(anonymous: Api, header: str | None) -> None:
    """No token, no bearer, or one that was never given out: 401 with `WWW-Authenticate`."""
    headers = {} if header is None else {"Authorization": header}

    for path in ("/v1/me", "/v1/users"):
        answer = await anonymous.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_token_of_another_user_id_is_nobodys(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """The secret is good with its own user id alone."""
    user, other = await a_user(denizen, password=PASSWORD), await a_user(denizen)
    ann = await anonymous.signed_in(user.email, PASSWORD)
    token = Token.parse(ann.token or "")
    assert token is not None

    forged = Api(anonymous.client, Token(other.id, token.secret).text)

    assert (await forged.get("/v1/me")).status_code == 401


@pytest.mark.full_hashes
async def test_t_hash_2_older_hash_is_renewed_by_a_good_sign_in(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """A hash with other parameters is replaced at sign-in, not by a failed one; nothing else is."""
    user = await a_user(denizen)
    other = PasswordHasher(slots=1, parameters=Argon2Parameters(memory=47104, passes=1))
    old = await other.hash(PASSWORD)
    other.close()
    async with superuser(databases.superuser_url) as writer:
        await writer.execute("UPDATE users SET hashed_password = $1", old)
        wrong = {"email": user.email, "password": PASSWORD + "x"}
        assert (await anonymous.post("/v1/sessions", json=wrong)).status_code == 401
        assert await writer.fetchval("SELECT hashed_password FROM users") == old
        before = await writer.fetchrow("SELECT version, updated_at FROM users")

        await anonymous.signed_in(user.email, PASSWORD)

        new = await writer.fetchval("SELECT hashed_password FROM users")
        assert await writer.fetchrow("SELECT version, updated_at FROM users") == before
    assert new.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    await anonymous.signed_in(user.email, PASSWORD)


async def test_session_that_slips_in_while_disabling_does_not_survive(
    denizen: Denizen[UserModel], databases: Databases
) -> None:
    """Disabled between the password check and the session: no session comes of it."""
    user = await a_user(denizen, password=PASSWORD)

    async with superuser(databases.superuser_url) as writer:
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("UPDATE users SET is_active = false WHERE id = $1", user.id)
        signing_in = asyncio.create_task(denizen.sessions.sign_in(user.email, PASSWORD))
        await asyncio.sleep(0.4)
        assert not signing_in.done()
        await transaction.commit()
        with pytest.raises(SignInFailedError):
            await signing_in
        assert await writer.fetchval("SELECT count(*) FROM sessions") == 0


async def test_no_connection_is_held_while_hashing(
    denizen: Denizen[UserModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a password is checked or hashed, every connection is in the pool."""
    user = await a_user(denizen, password=PASSWORD)
    held: list[int] = []
    run = Place.run

    async def watched(place: Place, work: Callable[[], object], **options: Any) -> object:
        held.append(denizen.db.engine.pool.checkedout())  # type: ignore[attr-defined]
        return await run(place, work, **options)

    monkeypatch.setattr(Place, "run", watched)
    await denizen.sessions.sign_in(user.email, PASSWORD)

    assert held == [0]


async def test_t_ses_4_session_ends_when_it_stands_idle(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """Seven days without a request end it; a request in between begins them anew."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)

    for days in (timedelta(days=7, seconds=-5), timedelta(days=14, seconds=-10)):
        denizen.clock.skew = days
        assert (await ann.get("/v1/me")).status_code == 200
    denizen.clock.skew = timedelta(days=21, seconds=-5)
    assert (await ann.get("/v1/me")).status_code == 401


async def test_sessions_that_are_over_are_purged(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """Rows of sessions that are over don't pile up."""
    user = await a_user(denizen, password=PASSWORD)
    await anonymous.signed_in(user.email, PASSWORD)
    denizen.clock.skew = timedelta(days=31)
    await anonymous.signed_in(user.email, PASSWORD)

    await denizen.housekeeper.clean_up()

    async with denizen.db.get_session(read_only=True) as db:
        assert await db.scalar(text("SELECT count(*) FROM sessions")) == 1


async def test_hundred_last_used_sessions_are_listed_and_all_live(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """However often a program signs in, its list costs no more, and nobody is signed out by it."""
    ann = await a_user(denizen, password=PASSWORD)
    first = await anonymous.signed_in(ann.email, PASSWORD)
    await databases.run(f"""
        INSERT INTO sessions (user_id, token_digest, id, expires_at)
        SELECT '{ann.id}', sha256(n::text::bytea), gen_random_uuid(), now() + interval '1 d'
        FROM generate_series(1, 150) AS n
    """)
    last = await anonymous.signed_in(ann.email, PASSWORD)

    listed = (await last.get("/v1/me/sessions")).json()["items"]

    assert len(listed) == 100
    assert listed[0]["is_current"]
    assert (await first.get("/v1/me")).status_code == 200


async def test_statements_of_a_sign_in_are_counted(
    anonymous: Api, denizen: Denizen[UserModel], statements: StatementCounter
) -> None:
    """A sign-in reads twice, pays, and writes in one transaction; every refusal costs the same."""
    user = await a_user(denizen, password=PASSWORD)
    body = {"email": user.email, "password": PASSWORD}

    async with statements.listening() as heard:
        await anonymous.post("/v1/sessions", json=body)
    # SELECT user, network; BEGIN, limits, COMMIT; BEGIN, INSERT, network, limits, audit, COMMIT
    assert len(heard) == 11, heard
    for refused in (body | {"password": "wrong"}, body | {"email": "nobody@example.com"}):
        async with statements.listening() as heard:
            await anonymous.post("/v1/sessions", json=refused)
        assert len(heard) == 8, heard  # user, network; BEGIN, limits, COMMIT; BEGIN, audit, COMMIT


async def test_sign_in_that_finds_no_room_says_nothing_to_the_database(
    anonymous: Api,
    denizen: Denizen[UserModel],
    statements: StatementCounter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its place in the queue for hashing is taken first: a crowd is refused at once."""
    user = await a_user(denizen, password=PASSWORD)
    monkeypatch.setattr(denizen.hasher, "queue", FairQueue(1, seconds=0))

    with denizen.hasher.queue.place("somebody"):
        async with statements.listening() as heard:
            body = {"email": user.email, "password": PASSWORD}
            answer = await anonymous.post("/v1/sessions", json=body)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert heard == []
