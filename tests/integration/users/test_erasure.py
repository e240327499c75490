"""Deleting an account: grace, undo, and then nothing of the person is left anywhere."""

import json
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter
from post import Post
from support import PASSWORD, Api, a_user
from webforms import Browser

NEW_PASSWORD = "another long passphrase 78"
ADDRESS, MOVED, NAME, AGENT = (
    "Canary.Person@example.com",
    "canary.moved@example.com",
    "canary-name",
    "canary-agent/1",
)
# five answers to an ordinary user that name somebody
_ANSWERS = """
INSERT INTO idempotency_keys
    (principal_id, key_digest, fingerprint, claim_id, status, headers, body)
SELECT $1, int4send(n), '', gen_random_uuid(), 200, '{}', $2::text::bytea
FROM generate_series(1, 5) n
"""
LATER = timedelta(days=30, minutes=1)


async def _everything(databases: Databases) -> dict[str, str]:
    """Give all rows of every table as text, byte columns decoded."""
    async with superuser(databases.superuser_url) as watcher:
        await watcher.execute("SET bytea_output = 'escape'")
        names = await watcher.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            name[0]: "\n".join(
                row[0] for row in await watcher.fetch(f"SELECT t::text FROM {name[0]} t")
            )
            for name in names
        }


async def _status(api: Api, path: str = "/v1/me") -> int:
    return (await api.get(path)).status_code


async def _lived(anonymous: Api, denizen: Denizen[UserModel], post: Post) -> tuple[Api, str]:
    """Give somebody who has left a trace in every table, and their id."""
    anonymous.client.headers["User-Agent"] = AGENT
    await anonymous.post("/v1/registrations", json={"email": ADDRESS})
    body = {"token": (await post.one_to(ADDRESS)).token, "username": NAME, "password": PASSWORD}
    made = (await anonymous.post("/v1/registrations/confirm", json=body)).json()
    wrong = {"email": ADDRESS, "password": "wrong"}
    await anonymous.post("/v1/sessions", json=wrong)
    me = await anonymous.signed_in(ADDRESS, PASSWORD)
    await me.post("/v1/me/email", json={"email": MOVED, "password": PASSWORD})
    change = (await post.one_to(MOVED)).token
    await anonymous.post("/v1/email-changes/confirm", json={"token": change})
    await me.patch("/v1/me", json={"locale": "ru"}, headers={"Idempotency-Key": "k"})
    await me.post("/v1/me/email", json={"email": "third@example.com", "password": PASSWORD})
    await anonymous.post("/v1/password-resets", json={"email": MOVED})
    await post.deliver()
    await anonymous.post("/v1/email-verifications", json={"email": MOVED})  # stays queued
    return me, made["id"]


@pytest.mark.parametrize("how", ["after the grace", "at once"])
async def test_erased_person_is_in_no_table(
    anonymous: Api,
    admin: Api,
    denizen: Denizen[UserModel],
    post: Post,
    databases: Databases,
    *,
    how: str,
) -> None:
    """Address, former address, name, program and network: gone; the events stay, blank."""
    me, user_id = await _lived(anonymous, denizen, post)
    before = await _everything(databases)
    for table in ("users", "sessions", "tokens", "outbox", "idempotency_keys", "audit_events"):
        assert "canary" in before[table].casefold() or user_id in before[table], table

    anonymous.client.headers["User-Agent"] = "another/1"
    if how == "at once":
        await admin.delete(f"/v1/users/{user_id}?erase=now")
    else:
        gone = await me.post("/v1/me/deletion", json={"password": PASSWORD})
        assert gone.status_code == 202
        await post.deliver()
        denizen.clock.skew = LATER
        await denizen.housekeeper.clean_up()

    after = await _everything(databases)
    words = ("canary", "third@example.com")
    left = {name for name, rows in after.items() if any(w in rows.casefold() for w in words)}
    ids = {name for name, rows in after.items() if user_id in rows}
    assert left == set()
    assert ids == {"audit_events"}
    async with superuser(databases.superuser_url) as watcher:
        events = await watcher.fetch(
            "SELECT * FROM audit_events WHERE user_id = $1 ORDER BY id", user_id
        )
    assert [event["action"] for event in events][:2] == ["user.registered", "session.refused"]
    assert events[-1]["action"] == "user.erased"
    assert {(e["user_agent"], e["before"], e["after"]) for e in events[:-1]} == {(None, "{}", "{}")}


async def test_erased_person_is_in_no_answer_that_is_kept_for_others(
    admin: Api, databases: Databases
) -> None:
    """What an admin was answered under an Idempotency-Key goes with the person it tells of."""
    key = {"Idempotency-Key": "k"}
    user = (
        await admin.post("/v1/users", json={"email": ADDRESS, "username": NAME}, headers=key)
    ).json()
    other = {"email": "other@example.com", "username": "other"}
    await admin.post("/v1/users", json=other, headers={"Idempotency-Key": "l"})
    assert "canary" in (await _everything(databases))["idempotency_keys"].casefold()

    await admin.delete(f"/v1/users/{user['id']}?erase=now")

    kept = (await _everything(databases))["idempotency_keys"].casefold()
    assert ("canary" in kept, "other@example.com" in kept) == (False, True)


async def test_erased_person_is_in_no_answer_to_whoever_was_staff(
    anonymous: Api, admin: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """What somebody was answered goes when they are demoted; what a key was, with the person."""
    demoted = await a_user(denizen, password=PASSWORD, role="admin")
    secret, _ = await denizen.keys.create_key("shop", ("users:write",))
    tellers = [await anonymous.signed_in(demoted.email, PASSWORD), Api(admin.client, secret)]
    ids = []
    for number, teller in enumerate(tellers):
        body = {"email": f"canary{number}@example.com", "username": f"canary{number}"}
        made = await teller.post("/v1/users", json=body, headers={"Idempotency-Key": "k"})
        ids.append(made.json()["id"])
    await admin.patch(f"/v1/users/{demoted.id}", json={"role": "user"})
    for user_id in ids:
        await admin.delete(f"/v1/users/{user_id}?erase=now")

    assert "canary" not in (await _everything(databases))["idempotency_keys"].casefold()


async def test_erased_person_is_in_no_answer_to_an_open_form(
    app: FastAPI, admin: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """A sentence with the address that somebody typed who forgot a password, signed in or not."""
    user = await a_user(denizen, email=ADDRESS)
    other = await a_user(denizen, password=PASSWORD)
    for is_known in (False, True):
        browser = Browser.of(app)
        async with browser.client:
            if is_known:
                await browser.sign_in(other.email, PASSWORD)
            await browser.fill("/account/forgot", email=ADDRESS)
    kept = (await _everything(databases))["idempotency_keys"].casefold()
    assert kept.count(ADDRESS.casefold()) == 2

    await admin.delete(f"/v1/users/{user.id}?erase=now")

    kept = (await _everything(databases))["idempotency_keys"].casefold()
    assert "canary" not in kept


async def test_erasure_reads_no_answers_of_other_ordinary_users(
    admin: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """There may be any number: even those that name the person are left to the end of their day."""
    user, other = await a_user(denizen), await a_user(denizen)
    async with superuser(databases.superuser_url) as watcher:
        await watcher.execute(_ANSWERS, other.id, str(user.id))

    await admin.delete(f"/v1/users/{user.id}?erase=now")

    async with superuser(databases.superuser_url) as watcher:
        assert await watcher.fetchval("SELECT count(*) FROM idempotency_keys") == 5


async def test_erased_admin_leaves_no_network_in_what_they_did_to_others(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """Their id stays beside their acts; where they sat and with what program does not."""
    await a_user(denizen, role="admin")
    console = await a_user(denizen, password=PASSWORD, role="admin")
    other = await a_user(denizen)
    anonymous.client.headers["User-Agent"] = AGENT
    me = await anonymous.signed_in(console.email, PASSWORD)
    await me.patch(f"/v1/users/{other.id}", json={"locale": "ru"})

    await denizen.users.delete_user(console.id, at_once=True)

    async with superuser(databases.superuser_url) as watcher:
        (event,) = await watcher.fetch("SELECT * FROM audit_events WHERE user_id = $1", other.id)
    assert (event["actor_id"], event["address"], event["user_agent"]) == (console.id, None, None)
    assert json.loads(event["after"]) == {"locale": "ru"}


async def test_grace_hides_the_person_and_keeps_their_names(
    anonymous: Api, admin: Api, denizen: Denizen[UserModel]
) -> None:
    """404 by id, in no list, no sign-in; address and name stay taken; the row is there."""
    user = await a_user(denizen, email=ADDRESS, username=NAME, password=PASSWORD)
    assert (await admin.delete(f"/v1/users/{user.id}")).status_code == 204

    told = [
        await _status(admin, f"/v1/users/{user.id}"),
        (await admin.delete(f"/v1/users/{user.id}")).status_code,
        (await admin.patch(f"/v1/users/{user.id}", json={"locale": "ru"})).status_code,
    ]
    assert told == [404, 404, 404]
    assert (await admin.get("/v1/users?q=canary")).json()["items"] == []
    sign_in = {"email": ADDRESS, "password": PASSWORD}
    assert (await anonymous.post("/v1/sessions", json=sign_in)).status_code == 401
    taken = await admin.post("/v1/users", json={"email": ADDRESS, "username": NAME})
    assert [issue["code"] for issue in taken.json()["errors"]] == ["email_taken", "username_taken"]


async def test_deletion_is_undone_by_its_mail(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """Signed out at once; the link works to the last day, once; then all is as it was."""
    user = await a_user(denizen, email=ADDRESS, password=PASSWORD)
    me = await anonymous.signed_in(ADDRESS, PASSWORD)
    wrong = await me.post("/v1/me/deletion", json={"password": "wrong"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "password_wrong")
    assert await _status(me) == 200
    assert (await me.post("/v1/me/deletion", json={"password": PASSWORD})).status_code == 202
    assert await _status(me) == 401
    body = {"token": (await post.one_to(ADDRESS)).token}
    denizen.clock.skew = timedelta(days=29, hours=23)
    await denizen.housekeeper.clean_up()

    told = [(await anonymous.post("/v1/deletions/undo", json=body)).status_code for _ in range(2)]

    assert told == [204, 400]
    assert await _status(me) == 401
    denizen.clock.skew = LATER
    await denizen.housekeeper.clean_up()
    again = await anonymous.signed_in(ADDRESS, PASSWORD)
    assert (await again.get("/v1/me")).json()["id"] == str(user.id)


async def test_nothing_leads_into_an_account_that_is_to_be_erased(
    anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """No reset, no confirmation, and a registration of the address is told that there is one."""
    user = await a_user(denizen, email=ADDRESS, password=PASSWORD)
    await denizen.users.delete_user(user.id)
    await post.one_to(ADDRESS)

    for form in ("password-resets", "email-verifications", "registrations"):
        await anonymous.post(f"/v1/{form}", json={"email": ADDRESS})

    assert [letter.token for letter in await post.all_to(ADDRESS)] == [""]


async def test_last_admin_can_not_leave(admin: Api, denizen: Denizen[UserModel]) -> None:
    """409 `last_admin` by every way out, and whoever is about to be erased does not count."""
    me = (await admin.get("/v1/me")).json()["id"]
    second = await a_user(denizen, role="admin")
    await denizen.users.delete_user(second.id)
    path = f"/v1/users/{me}"

    answers = [
        await admin.post("/v1/me/deletion", json={"password": PASSWORD}),
        await admin.delete(path),
        await admin.delete(f"{path}?erase=now"),
        await admin.patch(path, json={"role": "user"}),
        await admin.patch(path, json={"is_active": False}),
    ]

    assert {(one.status_code, one.json()["code"]) for one in answers} == {(409, "last_admin")}
    assert (await admin.delete(f"/v1/users/{second.id}?erase=now")).status_code == 204


async def test_user_who_can_not_be_erased_keeps_nobody_else_waiting(
    denizen: Denizen[UserModel], databases: Databases
) -> None:
    """A host's table still points at one: the others are erased, and the rest is cleaned up."""
    held, *others = [await a_user(denizen) for _ in range(3)]
    await databases.run(
        "CREATE TABLE orders (user_id uuid REFERENCES users (id));"
        f"INSERT INTO orders VALUES ('{held.id}')"
    )
    for user in (held, *others):
        await denizen.users.delete_user(user.id)
    denizen.clock.skew = LATER + timedelta(days=1)

    await denizen.housekeeper.clean_up()

    async with superuser(databases.superuser_url) as watcher:
        left = await watcher.fetch("SELECT id FROM users")
        queued = await watcher.fetch("SELECT user_id FROM outbox WHERE user_id = $1", held.id)
    assert [row[0] for row in left] == [held.id]
    assert len(queued) == 1  # rolled back as a whole
    await databases.run("DELETE FROM orders")
    await denizen.housekeeper.clean_up()
    assert list(await denizen.users.list_users(UserFilter())) == []
    async with superuser(databases.superuser_url) as watcher:
        assert await watcher.fetchval("SELECT count(*) FROM users") == 0


async def test_one_purge_that_fails_keeps_no_other_from_its_work(
    anonymous: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """The sessions can't be purged: old tokens are all the same."""
    await anonymous.post("/v1/registrations", json={"email": "ann@example.com"})
    await denizen.mail.send_due()
    await databases.run("REVOKE DELETE ON sessions FROM denizen")
    denizen.clock.skew = timedelta(days=2)

    await denizen.housekeeper.clean_up()

    async with superuser(databases.superuser_url) as watcher:
        assert await watcher.fetchval("SELECT count(*) FROM tokens") == 0


# what the export leaves out: keys made of what is in it, secrets, and whose it is; `email_verified`
# tells of `email_verified_at`; who is to be erased has no session to ask with
LEFT_OUT = {
    "users": {"email_key", "username_key", "hashed_password", "email_verified_at", "erase_after"},
    "sessions": {"user_id", "token_digest"},
    "known_networks": {"user_id"},
    "audit_events": set(),
}
# on their way: mails and links a month at most, answers a day
PASSING = {"outbox", "tokens", "idempotency_keys", "import_refusals"}
NOT_PERSONAL = {"api_keys", "throttles", "alembic_version", "imports"}


async def test_export_holds_all_that_is_held(
    anonymous: Api, denizen: Denizen[UserModel], post: Post, databases: Databases
) -> None:
    """Every column of every table of theirs, but for what is named above; a new one is refused."""
    me, user_id = await _lived(anonymous, denizen, post)
    answer = await me.get("/v1/me/export")
    assert answer.status_code == 200
    found = answer.json()

    async with superuser(databases.superuser_url) as watcher:
        rows: dict[str, list[Any]] = {
            name: await watcher.fetch(f"SELECT * FROM {name} WHERE user_id = $1", user_id)
            for name in ("sessions", "known_networks", "audit_events")
        }
        hashed = await watcher.fetchval("SELECT hashed_password FROM users WHERE id = $1", user_id)
    assert len(found["sessions"]) == len(rows["sessions"]) == 1
    assert found["sessions"][0]["user_agent"] == AGENT
    assert [one["network"] for one in found["known_networks"]] == ["127.0.0.1"]
    assert [one["action"] for one in found["audit_events"]] == [
        row["action"] for row in sorted(rows["audit_events"], key=lambda row: row["id"])
    ]
    assert found["user"]["email"] == MOVED
    assert hashed not in answer.text
    assert (me.token or "")[-40:] not in answer.text
    parts = {"users": [found["user"]]} | {name: found[name] for name in LEFT_OUT if name in found}
    assert set(parts) == set(LEFT_OUT)
    async with superuser(databases.superuser_url) as watcher:
        columns = await watcher.fetch(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public'"
        )
    assert {row[0] for row in columns} == set(LEFT_OUT) | PASSING | NOT_PERSONAL
    for table, left_out in LEFT_OUT.items():
        held = {row[1] for row in columns if row[0] == table}
        assert held - set(parts[table][0]) == left_out, table


async def test_export_is_for_its_owner(
    anonymous: Api, admin: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    """Without a session 401; an admin gets their own."""
    await _lived(anonymous, denizen, post)

    assert await _status(anonymous, "/v1/me/export") == 401
    assert "canary" not in (await admin.get("/v1/me/export")).text.casefold()
