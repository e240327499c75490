"""API keys: what other services may do, and no more."""

import asyncio
from datetime import timedelta

import pytest

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.errors import InvalidError, NotFoundError
from denizen.keys.model import SCOPES
from denizen.users.model import UserModel
from support import PASSWORD, Api, StatementCounter, a_user

NEW = {"email": "new@example.com", "username": "new"}


async def _with_key(denizen: Denizen[UserModel], api: Api, *scopes: str) -> Api:
    text, _ = await denizen.keys.create_key("tests", scopes)
    return Api(api.client, text)


async def test_key_reaches_as_far_as_its_scopes(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """Each scope opens its routes alone; a key is nobody, so `/v1/me` stays shut."""
    user = await a_user(denizen)
    routes: dict[str, list[tuple[str, str, dict[str, str] | None]]] = {
        "users:read": [("GET", "/v1/users", None), ("GET", f"/v1/users/{user.id}", None)],
        "users:write": [("PATCH", f"/v1/users/{user.id}", {"locale": "ru"})],
        "audit:read": [("GET", "/v1/audit-events", None)],
        "sessions:read": [("POST", "/v1/introspections", {"token": "x"})],
    }
    for scope in SCOPES:
        key = await _with_key(denizen, anonymous, scope)
        for owner, paths in routes.items():
            for method, path, body in paths:
                answer = await key.send(method, path, json=body)
                assert (answer.status_code == 200) is (owner == scope), (scope, path)
                if owner != scope:
                    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
        assert (await key.get("/v1/me")).status_code == 401


async def test_key_creates_and_deletes_ordinary_users_alone(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """A key never names a role, and touches only users whose role is `user`: else 403."""
    key = await _with_key(denizen, anonymous, "users:write", "users:read")
    console = await a_user(denizen, role="admin")
    helper = await a_user(denizen, role="support")

    created = await key.post("/v1/users", json=NEW)
    path = f"/v1/users/{created.json()['id']}"
    refused = [
        await key.post("/v1/users", json=NEW | {"role": "admin"}),
        await key.post("/v1/users", json=NEW | {"role": "user"}),
        await key.patch(path, json={"role": "support"}),
        await key.patch(f"/v1/users/{console.id}", json={"is_active": False}),
        await key.patch(f"/v1/users/{helper.id}", json={"email": "x@example.com"}),
        await key.delete(f"/v1/users/{helper.id}"),
    ]

    assert created.status_code == 201
    assert {answer.status_code for answer in refused} == {403}
    assert (await key.delete(path)).status_code == 204
    assert (await key.get(f"/v1/users/{helper.id}")).json()["email"] == helper.email


async def test_introspection_tells_live_tokens_from_others(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """A live token gives its user and end; ended, foreign and malformed ones are not active."""
    key = await _with_key(denizen, anonymous, "sessions:read")
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)

    live = await key.post("/v1/introspections", json={"token": ann.token})
    await ann.delete("/v1/me/sessions/current")
    tokens = [ann.token, "", "dz_x", key.token]
    others = [await key.post("/v1/introspections", json={"token": token}) for token in tokens]

    assert live.status_code == 200
    assert set(live.json()) == {"active", "user", "expires_at"}
    assert (live.json()["active"], live.json()["user"]["id"]) == (True, str(user.id))
    assert [answer.json() for answer in others] == [{"active": False}] * 4


async def test_revoked_and_expired_keys_are_dead_at_once(
    anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """A revoked key is refused at the next request, an expired one after its time."""
    text, key = await denizen.keys.create_key("revoked", ["users:read"])
    short, _ = await denizen.keys.create_key("short", ["users:read"], life=timedelta(hours=1))
    assert (await Api(anonymous.client, text).get("/v1/users")).status_code == 200

    await denizen.keys.revoke_key(key.id)
    with pytest.raises(NotFoundError):
        await denizen.keys.revoke_key(key.id)

    assert (await Api(anonymous.client, text).get("/v1/users")).status_code == 401
    assert (await Api(anonymous.client, short).get("/v1/users")).status_code == 200
    denizen.clock.skew = timedelta(hours=1, seconds=1)
    assert (await Api(anonymous.client, short).get("/v1/users")).status_code == 401


async def test_database_holds_no_key(databases: Databases, denizen: Denizen[UserModel]) -> None:
    """A digest is stored, the beginning is shown, the rest is told once."""
    text, key = await denizen.keys.create_key("billing", ["users:read"])

    assert text.startswith(key.shown.removesuffix("…"))
    assert len(key.shown) < len(text) / 3
    async with superuser(databases.superuser_url) as watcher:
        row = await watcher.fetchrow("SELECT api_keys::text AS told FROM api_keys")
        event = await watcher.fetchval("SELECT audit_events::text FROM audit_events")
    for told in (row["told"], event):
        assert text not in told
        assert text[-40:] not in told


async def test_use_of_a_key_is_noted_once_a_minute(
    anonymous: Api, denizen: Denizen[UserModel], statements: StatementCounter
) -> None:
    """The first request writes "last used", the next ones don't."""
    key = await _with_key(denizen, anonymous, "users:read")
    await key.get("/v1/users")
    (listed,) = await denizen.keys.list_keys()

    async with statements.listening() as heard:
        await key.get("/v1/users")

    assert listed.last_used_at is not None
    assert len(heard) == 2


async def test_key_survives_whoever_made_it(
    anonymous: Api, admin: Api, denizen: Denizen[UserModel]
) -> None:
    """Acts of a key are told as the key's; its events name it when its maker is gone."""
    key = await _with_key(denizen, anonymous, "users:write")
    user = (await key.post("/v1/users", json=NEW)).json()

    (event,) = (await admin.get(f"/v1/audit-events?user_id={user['id']}")).json()["items"]
    (listed,) = await denizen.keys.list_keys()

    assert (event["actor_kind"], event["actor_id"]) == ("key", str(listed.id))


@pytest.mark.parametrize(
    ("name", "scopes", "fields"),
    [("", ["users:read"], ["name"]), ("x", [], ["scope"]), ("x\n", ["root"], ["name", "scope"])],
)
async def test_malformed_key_is_refused_by_field(
    denizen: Denizen[UserModel], name: str, scopes: list[str], fields: list[str]
) -> None:
    """No name, no scope, an unknown scope: named, and nothing is made."""
    with pytest.raises(InvalidError) as caught:
        await denizen.keys.create_key(name, scopes)

    assert [issue.field for issue in caught.value.issues] == fields
    assert await denizen.keys.list_keys() == []


async def test_key_works_while_its_use_can_not_be_noted(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """Noting is a courtesy: neither a lock on the row nor a read-only server turns a key away."""
    key = await _with_key(denizen, anonymous, "users:read")
    async with superuser(databases.superuser_url) as other, other.transaction():
        await other.execute("SELECT 1 FROM api_keys FOR UPDATE")
        async with asyncio.timeout(1):
            locked = await key.get("/v1/users")
    async with superuser(databases.superuser_url) as other:
        name = await other.fetchval("SELECT current_database()")
        await other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await denizen.db.engine.dispose()
        async with asyncio.timeout(1):
            read_only = await key.get("/v1/users")

    assert (locked.status_code, read_only.status_code) == (200, 200)
