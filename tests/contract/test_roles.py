"""Who may do what: the matrix of roles, keys, routes and methods, each cell really requested."""

import asyncio
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.errors import LastAdminError, TokenInvalidError
from denizen.keys.model import SCOPES
from denizen.pages.cookies import SESSION
from denizen.tokens.model import Purpose
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from denizen.users.values import ROLES
from processes import command
from running import NOBODY, requests_of
from support import PASSWORD, Api, a_user

KEYS: Final = frozenset(f"key {scope}" for scope in SCOPES)
EVERYBODY: Final = frozenset({"anonymous", *ROLES}) | KEYS
SIGNED_IN: Final = frozenset(ROLES)
READERS: Final = frozenset({"admin", "support", "key users:read"})
WRITERS: Final = frozenset({"admin", "key users:write"})
ME: Final = f"/v1/me/sessions/{NOBODY}"
USER: Final = f"/v1/users/{NOBODY}"
IMPORT: Final = f"/v1/imports/{NOBODY}"

# Whoever is not named is refused: 401 where nobody is signed in, else 403.
MATRIX: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("POST", "/v1/registrations"): EVERYBODY,
    ("POST", "/v1/registrations/confirm"): EVERYBODY,
    ("POST", "/v1/email-verifications"): EVERYBODY,
    ("POST", "/v1/email-verifications/confirm"): EVERYBODY,
    ("POST", "/v1/email-changes/confirm"): EVERYBODY,
    ("POST", "/v1/email-changes/undo"): EVERYBODY,
    ("POST", "/v1/password-resets"): EVERYBODY,
    ("POST", "/v1/password-resets/confirm"): EVERYBODY,
    ("POST", "/v1/deletions/undo"): EVERYBODY,
    ("POST", "/v1/sessions"): EVERYBODY,
    ("GET", "/v1/me"): SIGNED_IN,
    ("PATCH", "/v1/me"): SIGNED_IN,
    ("GET", "/v1/me/export"): SIGNED_IN,
    ("POST", "/v1/me/email"): SIGNED_IN,
    ("PUT", "/v1/me/password"): SIGNED_IN,
    ("POST", "/v1/me/deletion"): SIGNED_IN,
    ("GET", "/v1/me/sessions"): SIGNED_IN,
    ("DELETE", ME): SIGNED_IN,
    ("DELETE", "/v1/me/sessions/current"): SIGNED_IN,
    ("DELETE", "/v1/me/sessions"): SIGNED_IN,
    ("GET", "/v1/users"): READERS,
    ("GET", USER): READERS,
    ("POST", "/v1/users"): WRITERS,
    ("PATCH", USER): WRITERS,
    ("DELETE", USER): WRITERS,
    ("POST", "/v1/imports"): frozenset({"admin"}),
    ("GET", IMPORT): frozenset({"admin"}),
    ("GET", f"{IMPORT}/report"): frozenset({"admin"}),
    ("GET", "/v1/audit-events"): frozenset({"admin", "key audit:read"}),
    ("POST", "/v1/introspections"): frozenset({"key sessions:read"}),
    ("GET", "/metrics"): frozenset({"key metrics:read"}),
}
# what the service shows to everybody, by GET and HEAD
SHOWN: Final = frozenset(
    {"/docs", "/docs/init.js", "/docs/x", "/openapi.json", "/healthz", "/readyz"}
    | {f"/assets/{name}" for name in ("icon.svg", "icons.svg", "script.js", "style.css")}
)
PURPOSES: Final = frozenset(f"/account/{purpose}" for purpose in Purpose)
STAFF: Final = frozenset({"support", "admin"})
ADMINS: Final = frozenset({"admin"})
UPLOAD: Final = "/console/imports/new"
ONE: Final = f"/console/users/{NOBODY}"
# pages, by cookie: whoever is nobody is led to the sign-in, but on those that are for everybody
PAGES: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    **{("GET", path): EVERYBODY for path in ("/", "/account/mail-sent")},
    ("GET", "/.well-known/change-password"): EVERYBODY,
    ("POST", "/account/sign-out"): EVERYBODY,
    **{
        (method, path): EVERYBODY
        for method in ("GET", "POST")
        for path in (
            *PURPOSES,
            *(f"/account/{name}" for name in ("sign-in", "register", "forgot", "verify")),
            "/account/language",
        )
    },
    **{
        ("GET", path): SIGNED_IN
        for path in (
            "/account",
            *(f"/account/{name}" for name in ("activity", "data", "data/download", "sessions")),
        )
    },
    **{
        (method, f"/account/{name}"): SIGNED_IN
        for method in ("GET", "POST")
        for name in ("username", "password", "email", "delete")
    },
    **{
        ("POST", f"/account/{name}"): SIGNED_IN
        for name in ("email/cancel", "sessions/end", "sessions/end-others")
    },
    ("GET", "/console"): STAFF,
    **{("GET", f"/console/{name}"): ADMINS for name in ("keys", "audit", "imports", "system")},
    **{("POST", f"/console/system/mails/{act}"): ADMINS for act in ("retry", "test")},
    **{("GET", f"/console/imports/{NOBODY}{end}"): ADMINS for end in ("", "/report")},
    **{("POST", f"/console/imports/{NOBODY}/{act}"): ADMINS for act in ("start", "stop", "resume")},
    **{(method, UPLOAD): ADMINS for method in ("GET", "POST")},
    **{
        (method, f"/console/keys/{name}"): ADMINS
        for method in ("GET", "POST")
        for name in ("new", f"{NOBODY}/revoke")
    },
    ("GET", "/console/users"): STAFF,
    ("GET", ONE): STAFF,
    **{
        (method, path): ADMINS
        for method in ("GET", "POST")
        for path in (
            *(f"/console/users/{name}" for name in ("new", "bulk")),
            *(f"{ONE}/{name}" for name in ("change", "disable", "end-sessions")),
            *(f"{ONE}/{name}" for name in ("reset-password", "delete", "erase")),
        )
    },
    ("POST", "/console/export"): ADMINS,
    **{("POST", f"{ONE}/{name}"): ADMINS for name in ("enable", "end-session", "resend", "keep")},
}
MASS: Final[Mapping[str, object]] = {
    "is_admin": True,
    "is_superuser": True,
    "id": NOBODY,
    "created_at": "2020-01-01T00:00:00Z",
    "hashed_password": "$argon2id$v=19$m=19456,t=2,p=1$YWFhYWFhYWE$YmJiYg",
    "password_hash": "x",
    "failed_logins": 0,
    "tenant_id": 1,
    "version": 1,
    "email_key": "root@example.com",
    "email_verified_at": "2020-01-01T00:00:00Z",
    "erase_after": None,
    "user_id": NOBODY,
}
NEVER_SHOWN: Final = {
    "hashed_password", "password", "password_hash", "email_key", "username_key", "token_digest",
    "secret_digest", "fingerprint", "key_digest", "erase_after",
}  # fmt: skip


@pytest.fixture
async def principals(denizen: Denizen[UserModel], anonymous: Api) -> dict[str, Api]:
    """Give a client for everybody in the matrix."""
    found = {"anonymous": anonymous}
    for role in ROLES:
        user = await a_user(denizen, email=f"{role}@example.com", password=PASSWORD, role=role)
        found[role] = await anonymous.signed_in(user.email, PASSWORD)
    for scope in SCOPES:
        text, _ = await denizen.keys.create_key(scope, [scope])
        found[f"key {scope}"] = Api(anonymous.client, text)
    return found


def test_t_az_1_every_route_stands_in_the_matrix(app: FastAPI) -> None:
    """A route that nobody has thought about fails the build, and so does one that is gone."""
    routes = set(requests_of(app))

    shown = {(method, path) for path in SHOWN for method in ("GET", "HEAD")}
    pages = set(PAGES) | {("HEAD", path) for method, path in PAGES if method == "GET"}
    assert routes - shown == set(MATRIX) | pages


@pytest.mark.parametrize(("method", "path"), MATRIX, ids=[" ".join(cell) for cell in MATRIX])
async def test_t_az_1_each_cell_of_the_matrix_answers_as_it_says(
    principals: dict[str, Api], method: str, path: str
) -> None:
    """Whoever is named passes the gate, and whoever is not is told why not and nothing more."""
    assert set(principals) == EVERYBODY
    for who, api in principals.items():
        body: dict[str, Any] = {"json": {}} if method in {"POST", "PUT", "PATCH"} else {}
        answer = await api.send(method, path, **body)
        refused = _refusal(answer)
        if who in MATRIX[method, path]:
            assert refused is None, (who, answer.text)
            assert answer.status_code in {200, 204, 404, 415, 422}, (who, answer.text)
        elif who == "anonymous" or (who in KEYS and MATRIX[method, path] is SIGNED_IN):
            assert refused == (401, "not_signed_in"), (who, answer.text)
        else:
            assert refused == (403, "not_allowed"), (who, answer.text)


def _refusal(answer: Any) -> tuple[int, str] | None:
    if answer.status_code not in {401, 403}:
        return None
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("who", ["nobody", "bearer", "key", *ROLES])
async def test_t_az_1_each_page_is_for_whoever_it_says(
    principals: dict[str, Api], denizen: Denizen[UserModel], who: str
) -> None:
    """A cookie of a session opens what is somebody's; a bearer token and a key open no page.

    T-CSRF-1: no cookie makes a form of another origin do anything.
    """
    carried = {
        "nobody": {},
        "bearer": {"Authorization": f"Bearer {principals['admin'].token}"},
        "key": {"Cookie": f"{SESSION}={principals['key users:write'].token}"},
    }
    headers = carried.get(who) or {}
    if who in ROLES:
        headers = {"Cookie": f"{SESSION}={principals[who].token}"}
    for (method, path), allowed in PAGES.items():
        client = principals["anonymous"].client
        form: dict[str, Any] = {"data": {"email": "a@example.com"}} if method == "POST" else {}
        if form and path == UPLOAD:
            form["files"] = {"file": b"email"}
        answer = await client.request(method, path, headers=headers, **form)
        leads_to = answer.headers.get("location", "")
        if allowed != EVERYBODY and who not in ROLES:
            assert answer.status_code == 303, (method, path)
            assert leads_to.startswith("/account/sign-in"), (method, path)
        elif method == "POST" or not (allowed == EVERYBODY or who in allowed):
            assert answer.status_code == 403, (method, path)
        else:
            expected = {400} if path in PURPOSES else {404} if NOBODY in path else {200, 303}
            assert answer.status_code in expected, (method, path)
            is_leading = allowed == EVERYBODY or path.endswith("/bulk")  # nobody is selected
            assert is_leading or not leads_to, (method, path)


async def test_refusal_is_logged_by_the_routes_own_path(
    principals: dict[str, Api], caplog: pytest.LogCaptureFixture
) -> None:
    """ASVS 16.3.2: who was refused what; nothing that was sent stands in the line (16.4.1)."""
    evil = "\n2026-01-01 forged\x1b[31m"
    await principals["user"].get("/v1/users", params={"q": evil})
    await principals["key users:read"].delete(f"/v1/users/{NOBODY}")

    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("user ")
    assert lines[0].endswith(" was refused GET /v1/users")
    assert lines[1].startswith("key ")
    assert lines[1].endswith(" was refused DELETE /v1/users/{id}")


async def test_t_az_2_another_users_things_are_nobodys(
    principals: dict[str, Api], databases: Databases
) -> None:
    """A session of somebody else is 404 to end, even for an admin, and goes on."""
    theirs = (await principals["user"].get("/v1/me/sessions")).json()["items"][0]["id"]
    before = await _table(databases, "sessions")

    for who in ("support", "admin"):
        answer = await principals[who].delete(f"/v1/me/sessions/{theirs}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await principals["support"].delete(f"/v1/me/sessions/{NOBODY}")).status_code == 404

    assert await _table(databases, "sessions") == before
    assert (await principals["user"].get("/v1/me")).status_code == 200


async def test_t_az_2_users_see_and_touch_nobody_by_id(
    principals: dict[str, Api], databases: Databases
) -> None:
    """By the id of another user, and by one's own, a plain user gets 403 and changes nothing."""
    ids = {who: (await principals[who].get("/v1/me")).json()["id"] for who in ("user", "admin")}
    before = await _table(databases, "users")
    for user_id in ids.values():
        path = f"/v1/users/{user_id}"
        told = [
            (await principals["user"].get(path)).status_code,
            (await principals["user"].patch(path, json={"role": "admin"})).status_code,
            (await principals["user"].delete(f"{path}?erase=now")).status_code,
        ]
        assert told == [403] * 3
    assert await _table(databases, "users") == before


@pytest.mark.parametrize("field", MASS)
async def test_t_az_3_nobody_sets_what_is_not_theirs(
    principals: dict[str, Api], databases: Databases, field: str
) -> None:
    """An unknown field is refused on every route with a body, and no row changes."""
    more = {field: MASS[field]}
    user_id = (await principals["user"].get("/v1/me")).json()["id"]
    before = await _table(databases, "users")
    new = {"email": "new@example.com", "username": "new"}
    for who, method, path, body in (
        ("user", "PATCH", "/v1/me", {"locale": "ru"}),
        ("user", "POST", "/v1/me/email", {"email": "x@example.com", "password": PASSWORD}),
        ("anonymous", "POST", "/v1/registrations", {"email": "new@example.com"}),
        ("anonymous", "POST", "/v1/sessions", {"email": "new@example.com", "password": "x"}),
        ("admin", "POST", "/v1/users", new),
        ("key users:write", "POST", "/v1/users", new),
        ("admin", "PATCH", f"/v1/users/{user_id}", {"locale": "ru"}),
        ("key users:write", "PATCH", f"/v1/users/{user_id}", {"locale": "ru"}),
    ):
        answer = await principals[who].send(method, path, json=body | more)
        assert answer.status_code == 422, (path, answer.text)
        assert [e["field"] for e in answer.json()["errors"]] == [field], path
    assert await _table(databases, "users") == before


@pytest.mark.parametrize("field", ["role", "is_active", "email_verified", "email"])
async def test_t_az_3_me_takes_a_name_and_a_language_alone(
    principals: dict[str, Api], databases: Databases, field: str
) -> None:
    """What an admin may change of others, nobody changes of themselves."""
    value = {"role": "admin", "is_active": True, "email_verified": True, "email": "x@example.com"}
    before = await _table(databases, "users")

    answer = await principals["user"].patch("/v1/me", json={field: value[field]})

    assert answer.status_code == 422
    assert await _table(databases, "users") == before


async def test_parameters_given_twice_have_one_winner(admin: Api) -> None:
    """ASVS 15.3.7: of two the last one counts, in the query and in JSON alike."""
    twice = b'{"email":"a@example.com","email":"b@example.com","username":"b"}'
    headers = {"Content-Type": "application/json"}
    made = await admin.post("/v1/users", content=twice, headers=headers)
    assert made.json()["email"] == "b@example.com"

    found = await admin.get("/v1/users?email=nobody@example.com&email=b@example.com")
    assert [user["email"] for user in found.json()["items"]] == ["b@example.com"]


def test_t_az_4_answers_are_declared_and_name_no_secret(app: FastAPI) -> None:
    """No schema of an answer has a field for a hash, a digest or what is derived."""
    document = app.openapi()
    schemas = document["components"]["schemas"]
    shown = [name for name in schemas if name.endswith(("View", "Page", "List"))]
    assert len(shown) >= 8
    for name in shown:
        assert not set(schemas[name]["properties"]) & NEVER_SHOWN, name


async def test_t_az_6_user_in_a_body_is_never_the_actor(
    principals: dict[str, Api], app: FastAPI, databases: Databases
) -> None:
    """Naming somebody in a body makes nobody them: every route with a body refuses it."""
    victim = (await principals["admin"].get("/v1/me")).json()["id"]
    before = await _table(databases, "users")
    tried = 0
    for method, path in MATRIX:
        if method not in {"POST", "PUT", "PATCH"}:
            continue
        for who in ("anonymous", "user"):
            for name in ("user_id", "userId", "id", "actor", "sub"):
                answer = await principals[who].send(method, path, json={name: victim})
                assert answer.status_code in {401, 403, 422}, (method, path, answer.text)
                tried += 1
    assert tried > 100
    assert await _table(databases, "users") == before


async def test_key_touches_ordinary_users_alone(
    principals: dict[str, Api], denizen: Denizen[UserModel], databases: Databases
) -> None:
    """By whatever route, support and admins are out of its reach, and it gives no role."""
    key = principals["key users:write"]
    before = await _table(databases, "users")
    for role in ("support", "admin"):
        path = f"/v1/users/{(await principals[role].get('/v1/me')).json()['id']}"
        for method, query, body in (
            ("PATCH", "", {"email": "mine@example.com"}),
            ("PATCH", "", {"is_active": False}),
            ("PATCH", "", {"email_verified": False}),
            ("PATCH", "", {"locale": "ru"}),
            ("DELETE", "", None),
            ("DELETE", "?erase=now", None),
        ):
            answer = await key.send(method, path + query, json=body)
            assert answer.status_code == 403, (path, method, body)
    user = f"/v1/users/{(await principals['user'].get('/v1/me')).json()['id']}"
    for given in ROLES:  # to name the one that is there is to set it, too
        assert (await key.patch(user, json={"role": given})).status_code == 403
        new = {"email": "new@example.com", "username": "new", "role": given}
        assert (await key.post("/v1/users", json=new)).status_code == 403
    assert await _table(databases, "users") == before


async def test_key_outlives_its_maker_and_dies_when_revoked(
    principals: dict[str, Api], denizen: Denizen[UserModel]
) -> None:
    """The audit says who made it; disabling or erasing them changes nothing for the service."""
    key = principals["key users:read"]
    made = next(k for k in await denizen.keys.list_keys() if k.name == "users:read")
    assert made.last_used_at is None
    assert (await key.get("/v1/users")).status_code == 200
    used = next(k for k in await denizen.keys.list_keys() if k.name == "users:read")
    assert used.last_used_at is not None

    await denizen.keys.revoke_key(made.id)

    assert (await key.get("/v1/users")).status_code == 401


@pytest.mark.parametrize(
    "act", ["PATCH role", "PATCH is_active", "DELETE", "DELETE erase", "deletion", "scenario"]
)
async def test_last_active_admin_stays_by_every_way(
    admin: Api, denizen: Denizen[UserModel], act: str, databases: Databases
) -> None:
    """409 `last_admin`: support, and admins who are disabled or leaving, don't count."""
    me = (await admin.get("/v1/me")).json()["id"]
    await a_user(denizen, role="support")
    off = await a_user(denizen, role="admin")
    await denizen.users.update_user(off.id, UpdateUser(is_active=False))
    leaving = await a_user(denizen, role="admin")
    await denizen.users.delete_user(leaving.id)
    before = await _table(databases, "users")

    if act == "scenario":
        with pytest.raises(LastAdminError):
            await denizen.account.request_deletion(uuid.UUID(me), PASSWORD)
    else:
        answer = {
            "PATCH role": lambda: admin.patch(f"/v1/users/{me}", json={"role": "support"}),
            "PATCH is_active": lambda: admin.patch(f"/v1/users/{me}", json={"is_active": False}),
            "DELETE": lambda: admin.delete(f"/v1/users/{me}"),
            "DELETE erase": lambda: admin.delete(f"/v1/users/{me}?erase=now"),
            "deletion": lambda: admin.post("/v1/me/deletion", json={"password": PASSWORD}),
        }[act]()
        told = await answer
        assert (told.status_code, told.json()["code"]) == (409, "last_admin")

    assert await _table(databases, "users") == before
    assert (await admin.get("/v1/me")).status_code == 200


async def test_two_admins_who_leave_at_once_are_one_too_many(
    anonymous: Api, denizen: Denizen[UserModel], admin: Api
) -> None:
    """In every mixture of ways at the same moment one of two is refused."""
    for way in ("DELETE", "deletion"):
        other = await a_user(denizen, role="admin", password=PASSWORD)
        second = await anonymous.signed_in(other.email, PASSWORD)
        me = (await admin.get("/v1/me")).json()["id"]
        body = {"password": PASSWORD}
        leave = (
            second.delete(f"/v1/users/{other.id}")
            if way == "DELETE"
            else second.post("/v1/me/deletion", json=body)
        )
        told = await asyncio.gather(admin.patch(f"/v1/users/{me}", json={"role": "user"}), leave)
        assert max(answer.status_code for answer in told) in {409, 403}
        async with denizen.db.get_session(read_only=True) as db:
            admins = [await UserModel.get_by_id(db, i) for i in (uuid.UUID(me), other.id)]
        left = [a for a in admins if a and a.role == "admin" and a.erase_after is None]
        assert left
        admin = await anonymous.signed_in(left[0].email, PASSWORD)
        for one in left[1:]:
            await denizen.users.update_user(one.id, UpdateUser(role="user"))


def test_last_admin_stays_by_the_command_line_and_there_is_none_by_default(tmp_path: Path) -> None:
    """T-BOOT-1: a fresh service has no account; of its first admin every command says no."""
    folder = tmp_path / "data"
    listed = command(folder, "users", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    assert '"items":[]' in listed.stdout
    words = ("root@example.com", "root", "--role", "admin", "--verified", "--password-stdin")
    assert command(folder, "users", "create", *words, stdin=PASSWORD + "\n").returncode == 0
    for act in (("disable",), ("delete", "--yes"), ("delete", "--yes", "--erase-now")):
        refused = command(folder, "users", act[0], "root", *act[1:])
        assert (refused.returncode, "last active admin" in refused.stderr) == (1, True), act
    assert '"is_active":true' in command(folder, "users", "show", "root", "--json").stdout


async def test_t_boot_1_first_admin_is_made_once_and_while_there_is_none(
    denizen: Denizen[UserModel], databases: Databases
) -> None:
    """No account by default; the newest link alone works, once, and none when there is an admin."""
    assert await _table(databases, "users") == []
    confirm = denizen.registrations.confirm_first_admin
    older = await denizen.registrations.first_admin_token()
    token = await denizen.registrations.first_admin_token()
    assert older
    assert token
    with pytest.raises(TokenInvalidError):
        await confirm(older, "root@example.com", "root", PASSWORD)

    told = await asyncio.gather(
        *(confirm(token, f"r{n}@example.com", f"r{n}", PASSWORD) for n in range(8)),
        return_exceptions=True,
    )

    made = [one for one in told if isinstance(one, UserModel)]
    assert len(made) == 1
    assert all(isinstance(one, UserModel | TokenInvalidError) for one in told), told
    assert (made[0].role, made[0].can_sign_in) == ("admin", True)
    assert await denizen.registrations.first_admin_token() is None


async def test_t_boot_1_link_is_dead_once_there_is_an_admin_by_another_way(
    denizen: Denizen[UserModel],
) -> None:
    """An operator was faster: who finds the link later makes nothing with it."""
    token = await denizen.registrations.first_admin_token()
    assert token
    await a_user(denizen, role="admin")

    with pytest.raises(TokenInvalidError):
        await denizen.registrations.confirm_first_admin(token, "e@example.com", "eve", PASSWORD)


async def _table(databases: Databases, name: str) -> list[str]:
    """Give all rows of a table, but for what notes a use."""
    async with superuser(databases.superuser_url) as watcher:
        rows = await watcher.fetch(f"SELECT * FROM {name}")
    kept = [{k: v for k, v in row.items() if k != "last_seen_at"} for row in rows]
    return sorted(map(repr, kept))
