"""The audit log: written with the act, readable by those who may, changed by nobody."""

import time
import uuid
from typing import Any

import asyncpg
import pytest

from denizen.app import Denizen
from denizen.audit.model import NOBODY, Actor
from denizen.db import DBSessionManager
from denizen.db.testing import Databases, superuser
from denizen.users.model import UserModel
from denizen.users.schemas import CreateUser
from support import PASSWORD, Api, a_user


async def _events(api: Api, query: str = "") -> list[dict[str, Any]]:
    answer = await api.get(f"/v1/audit-events?limit=200&{query}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_each_act_leaves_one_event_with_its_actor(admin: Api) -> None:
    """Created, changed, erased: who, whom, from where, and the changed fields alone."""
    me = (await admin.get("/v1/me")).json()
    headers = {"User-Agent": "audit-test/1"}
    body = {"email": "ann@example.com", "username": "ann", "password": PASSWORD}
    user = (await admin.post("/v1/users", json=body, headers=headers)).json()
    path = f"/v1/users/{user['id']}"
    await admin.patch(path, json={"locale": "ru", "username": "ann"}, headers=headers)

    changed, created = await _events(admin, f"user_id={user['id']}")

    assert [created["action"], changed["action"]] == ["user.created", "user.updated"]
    for event in (created, changed):
        assert (event["actor_kind"], event["actor_id"]) == ("user", me["id"])
        assert (event["address"], event["user_agent"]) == ("127.0.0.1", "audit-test/1")
    assert created["after"]["email"] == "ann@example.com"
    assert (changed["before"], changed["after"]) == ({"locale": "en"}, {"locale": "ru"})
    assert PASSWORD not in str([created, changed])
    assert "$argon2" not in str([created, changed])


async def test_change_that_changes_nothing_is_no_event(
    admin: Api, denizen: Denizen[UserModel]
) -> None:
    """A PATCH to what is already so leaves neither a version nor an event."""
    user = await a_user(denizen)
    answer = await admin.patch(f"/v1/users/{user.id}", json={"locale": "en"})

    assert answer.json()["version"] == 1
    assert await _events(admin, f"user_id={user.id}") == []


async def test_refused_act_leaves_no_event(admin: Api, denizen: Denizen[UserModel]) -> None:
    """What is rolled back was not done, and is not told as done."""
    await a_user(denizen, email="ann@example.com")

    answer = await admin.post("/v1/users", json={"email": "ann@example.com", "username": "new"})

    assert answer.status_code == 409
    assert await _events(admin, "action=user.created") == []


async def test_t_log_2_every_sign_in_is_told(
    admin: Api, anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """Good, wrong and unknown: each attempt is an event, about the user or about nobody."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)
    for email in (user.email, "nobody@example.com"):
        await anonymous.post("/v1/sessions", json={"email": email, "password": "wrong"})
    await ann.delete("/v1/me/sessions/current")

    actions = [event["action"] for event in await _events(admin, f"user_id={user.id}")]
    unknown = await _events(admin, f"user_id={NOBODY}")

    assert actions == ["session.ended", "session.refused", "session.started"]
    assert [event["action"] for event in unknown] == ["session.refused"]
    assert "nobody@example.com" not in str(unknown)


async def test_erasing_blanks_the_person_and_keeps_the_events(
    admin: Api, denizen: Denizen[UserModel]
) -> None:
    """After the erasure the events tell what happened and nothing of the person."""
    body = {"email": "canary@example.com", "username": "canary"}
    user = (await admin.post("/v1/users", json=body)).json()
    await admin.delete(f"/v1/users/{user['id']}?erase=now")

    events = await _events(admin, f"user_id={user['id']}")

    assert [event["action"] for event in events] == ["user.erased", "user.created"]
    assert "canary" not in str(events)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_events SET action = 'x'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "DROP TABLE audit_events",
        "ALTER TABLE audit_events ADD COLUMN x int",
        "CREATE TABLE more (x int)",
        "DROP FUNCTION audit_blank(uuid)",
    ],
)
async def test_t_db_1_serving_role_can_only_add(databases: Databases, sql: str) -> None:
    """The role that serves may add and read events, and change neither them nor the schema."""
    url = databases.superuser_url.replace("postgres@", "denizen@")
    async with superuser(url) as serving:
        assert await serving.fetchval("SELECT current_user") == "denizen"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await serving.execute(sql)


async def test_purge_spares_the_last_month(
    databases: Databases, denizen: Denizen[UserModel]
) -> None:
    """The owner's function removes old events, and never this month's, whatever it is told."""
    await denizen.users.create_user(CreateUser(email="a@example.com", username="a"))
    async with superuser(databases.superuser_url) as watcher:
        old = uuid.UUID(int=int((time.time() - 31 * 86_400) * 1000) << 80)
        await watcher.execute("UPDATE audit_events SET id = $1", old)
        await denizen.users.create_user(CreateUser(email="b@example.com", username="b"))
        assert await watcher.fetchval("SELECT audit_purge(now() + interval '1 year')") == 1

        assert await watcher.fetchval("SELECT count(*) FROM audit_events") == 1


async def test_events_are_paged_by_keyset(admin: Api, denizen: Denizen[UserModel]) -> None:
    """Cursors lead through all events once, the newest first."""
    for number in range(5):
        payload = CreateUser(email=f"p{number}@example.com", username=f"p{number}")
        await denizen.users.create_user(payload, actor=Actor("operator"))
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await admin.get(f"/v1/audit-events?action=user.created&limit=2{cursor}")).json()
        seen += [event["after"]["username"] for event in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert seen == [f"p{number}" for number in reversed(range(5))]


async def test_event_of_a_joined_unit_shares_the_callers_fate(
    databases: Databases, denizen: Denizen[UserModel]
) -> None:
    """Rolled back by its host, an act leaves no event."""
    db: DBSessionManager = denizen.db
    with pytest.raises(RuntimeError):
        async with db.get_session() as session:
            payload = CreateUser(email="a@example.com", username="a")
            await denizen.users.create_user(payload, db=session)
            raise RuntimeError

    async with superuser(databases.superuser_url) as watcher:
        assert await watcher.fetchval("SELECT count(*) FROM audit_events") == 0
