"""My devices: what is told of them, how they end, and that every worker sees it at once."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import httpx
import pytest

from denizen.app import Denizen, create_app
from denizen.db.testing import Databases, superuser
from denizen.settings import Settings
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from support import PASSWORD, Api, StatementCounter, a_user

NEW_PASSWORD = "another long passphrase 78"
DEVICES = "/v1/me/sessions"


@pytest.fixture
async def elsewhere(settings: Settings) -> AsyncIterator[Api]:
    """Give a client of another worker: an app of its own on the same database."""
    app = create_app(settings)
    await app.state.denizen.start()
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://other.test") as client:
        yield Api(client)
    await app.state.denizen.stop()


async def _status(api: Api, path: str = "/v1/me") -> int:
    return (await api.get(path)).status_code


async def test_t_ses_9_devices_are_listed_with_what_is_known_of_them(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """The last used first; address, program, times, which one asks; no token and no digest."""
    user = await a_user(denizen, password=PASSWORD)
    anonymous.client.headers["User-Agent"] = "phone/1"
    phone = await anonymous.signed_in(user.email, PASSWORD)
    anonymous.client.headers["User-Agent"] = "laptop/1"
    laptop = await anonymous.signed_in(user.email, PASSWORD)
    denizen.clock.skew = timedelta(minutes=5)
    await phone.get("/v1/me")

    first, second = (await laptop.get(DEVICES)).json()["items"]

    assert set(first) == {
        *("id", "created_at", "last_seen_at", "expires_at", "address", "user_agent", "is_current"),
    }
    assert {one["user_agent"]: one["is_current"] for one in (first, second)} == {
        "phone/1": False,
        "laptop/1": True,
    }
    assert {one["address"] for one in (first, second)} == {"127.0.0.1"}
    assert first["last_seen_at"] >= second["last_seen_at"]
    assert first["created_at"] < first["last_seen_at"]


async def test_last_seen_is_true_to_the_minute_without_a_write_per_request(
    anonymous: Api, denizen: Denizen[UserModel], statements: StatementCounter
) -> None:
    """Within a minute one read a request; after it one write, once."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)
    told = []
    for skew in (50, 70, 75, 125, 135):
        denizen.clock.skew = timedelta(seconds=skew)
        async with statements.listening() as heard:
            assert await _status(ann) == 200
        told.append([one.split()[0] for one in heard])

    assert [len(one) for one in told] == [1, 4, 1, 1, 4]
    assert sorted(told[1]) == ["BEGIN", "COMMIT", "SELECT", "UPDATE"]


@pytest.mark.parametrize("is_read_only", [False, True])
async def test_session_works_while_its_use_can_not_be_noted(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases, *, is_read_only: bool
) -> None:
    """Noting is a courtesy: neither a lock on the row nor a read-only server keeps anybody out."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)
    denizen.clock.skew = timedelta(minutes=2)
    async with superuser(databases.superuser_url) as other, other.transaction():
        if is_read_only:
            name = await other.fetchval("SELECT current_database()")
            await databases.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            await denizen.db.engine.dispose()
        else:
            await other.execute("SELECT 1 FROM sessions FOR UPDATE")
        async with asyncio.timeout(1.5):
            assert await _status(ann) == 200


async def test_t_ses_9_one_session_ends_and_the_others_go_on(
    anonymous: Api, elsewhere: Api, denizen: Denizen[UserModel]
) -> None:
    """Ended from another device: dead at its next request, on every worker; twice is 404."""
    user = await a_user(denizen, password=PASSWORD)
    phone = await anonymous.signed_in(user.email, PASSWORD)
    laptop = await anonymous.signed_in(user.email, PASSWORD)
    items = (await laptop.get(DEVICES)).json()["items"]
    (target,) = [item["id"] for item in items if not item["is_current"]]

    ended = [(await laptop.delete(f"{DEVICES}/{target}")).status_code for _ in range(2)]

    assert ended == [204, 404]
    assert await _status(Api(elsewhere.client, phone.token)) == 401
    assert await _status(Api(elsewhere.client, laptop.token)) == 200


async def test_t_ses_9_another_users_session_is_404(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """Somebody else's, nobody's: the same answer, byte for byte, and it goes on."""
    user, stranger = [await a_user(denizen, password=PASSWORD) for _ in range(2)]
    ann = await anonymous.signed_in(user.email, PASSWORD)
    other = await anonymous.signed_in(stranger.email, PASSWORD)
    (theirs,) = (await other.get(DEVICES)).json()["items"]

    answers = [await ann.delete(f"{DEVICES}/{target}") for target in (theirs["id"], uuid.uuid4())]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert await _status(other) == 200


async def test_sign_out_everywhere_is_here_too(
    anonymous: Api, elsewhere: Api, denizen: Denizen[UserModel]
) -> None:
    """All of mine, none of others'; the browser is told to forget."""
    user, stranger = [await a_user(denizen, password=PASSWORD) for _ in range(2)]
    devices = [await anonymous.signed_in(user.email, PASSWORD) for _ in range(3)]
    other = await anonymous.signed_in(stranger.email, PASSWORD)

    answer = await devices[0].delete(DEVICES)

    assert (answer.status_code, "clear-site-data" in answer.headers) == (204, True)
    assert [await _status(Api(elsewhere.client, one.token)) for one in devices] == [401] * 3
    assert await _status(other) == 200


async def test_t_ses_8_password_change_ends_the_others_and_keeps_this_one(
    anonymous: Api, elsewhere: Api, denizen: Denizen[UserModel]
) -> None:
    """The device that asked goes on; the others are out on every worker."""
    user = await a_user(denizen, password=PASSWORD)
    here, *others = [await anonymous.signed_in(user.email, PASSWORD) for _ in range(3)]
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    wrong = await here.put("/v1/me/password", json=body | {"current_password": NEW_PASSWORD})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "password_wrong")
    assert await _status(others[0]) == 200

    assert (await here.put("/v1/me/password", json=body)).status_code == 204

    assert await _status(Api(elsewhere.client, here.token)) == 200
    assert [await _status(Api(elsewhere.client, one.token)) for one in others] == [401, 401]


async def _disable(denizen: Denizen[UserModel], user: UserModel) -> None:
    await denizen.users.update_user(user.id, UpdateUser(is_active=False))


async def _delete(denizen: Denizen[UserModel], user: UserModel) -> None:
    await denizen.users.delete_user(user.id)


async def _erase(denizen: Denizen[UserModel], user: UserModel) -> None:
    await denizen.users.delete_user(user.id, at_once=True)


@pytest.mark.parametrize("act", [_disable, _delete, _erase])
async def test_t_ses_7_whoever_may_not_be_here_is_out_on_every_worker(
    anonymous: Api,
    elsewhere: Api,
    denizen: Denizen[UserModel],
    act: Callable[[Denizen[UserModel], UserModel], Awaitable[None]],
) -> None:
    """Three sessions of a user who was disabled or deleted: 401 at the next request."""
    user = await a_user(denizen, password=PASSWORD)
    devices = [
        Api(elsewhere.client, (await anonymous.signed_in(user.email, PASSWORD)).token)
        for _ in range(3)
    ]
    assert [await _status(one) for one in devices] == [200] * 3

    await act(denizen, user)

    assert [await _status(one) for one in devices] == [401] * 3
    assert [await _status(one, DEVICES) for one in devices] == [401] * 3


async def test_enabled_again_starts_without_the_old_sessions(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """What was ended stays ended."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)
    await _disable(denizen, user)
    await denizen.users.update_user(user.id, UpdateUser(is_active=True))

    assert await _status(ann) == 401
    await anonymous.signed_in(user.email, PASSWORD)


async def test_demotion_and_revocation_are_seen_by_other_workers(
    anonymous: Api, elsewhere: Api, denizen: Denizen[UserModel]
) -> None:
    """An admin who is one no more: 403; a key that was revoked: 401; both at the next request."""
    await a_user(denizen, role="admin")
    console = await a_user(denizen, password=PASSWORD, role="admin")
    signed_in = await anonymous.signed_in(console.email, PASSWORD)
    text, key = await denizen.keys.create_key("tests", ["users:read"])
    both = [Api(elsewhere.client, signed_in.token), Api(elsewhere.client, text)]
    assert [await _status(one, "/v1/users") for one in both] == [200, 200]

    await denizen.users.update_user(console.id, UpdateUser(role="user"))
    await denizen.keys.revoke_key(key.id)

    assert [await _status(one, "/v1/users") for one in both] == [403, 401]


async def test_sessions_that_are_over_are_not_listed(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """Idle for a week: gone from the list, whether or not the row was purged."""
    user = await a_user(denizen, password=PASSWORD)
    await anonymous.signed_in(user.email, PASSWORD)
    denizen.clock.skew = timedelta(days=8)
    ann = await anonymous.signed_in(user.email, PASSWORD)

    assert [one["is_current"] for one in (await ann.get(DEVICES)).json()["items"]] == [True]


async def test_t_ses_3_every_sign_in_has_a_token_of_its_own(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """A token sent along with a sign-in is neither taken over nor ended."""
    user = await a_user(denizen, password=PASSWORD)
    first = await anonymous.signed_in(user.email, PASSWORD)
    body = {"email": user.email, "password": PASSWORD}
    second = await first.post("/v1/sessions", json=body)

    assert second.json()["token"] != first.token
    assert await _status(first) == 200
