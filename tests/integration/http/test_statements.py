"""What each route of the API says to the database, in numbers: no route grows dear unnoticed."""

import re
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI

from denizen.app import Denizen
from denizen.users.model import UserModel
from post import Post
from support import PASSWORD, Api, StatementCounter, a_user

NEW: Final = "another fine passphrase 78"
_DRIVERS_OWN: Final = ("typeinfo_tree", "set_config('jit'")
_ID: Final = re.compile(r"/[0-9a-f]{8}-[0-9a-f-]{27}")
# A unit of work that writes has BEGIN and COMMIT; what a read says stands alone. Whoever is asked
# who they are pays one ("who am I", or the key). TRIES: BEGIN, the limits, COMMIT.
TRIES: Final = 3
# what these say depends on the file and on the outbox; their tests stand beside them
APART: Final = {
    "GET /metrics",
    "POST /v1/imports",
    "GET /v1/imports/{id}",
    "GET /v1/imports/{id}/report",
}
BUDGETS: Final[Mapping[str, int]] = {
    "GET /healthz": 0,
    "GET /readyz": 1,
    "GET /v1/me": 1,
    "GET /v1/users": 2,
    "GET /v1/users/{id}": 2,
    "GET /v1/audit-events": 2,
    "GET /v1/me/sessions": 2,
    "GET /v1/me/export": 5,
    "POST /v1/introspections": 2,
    "DELETE /v1/me/sessions": 5,
    "DELETE /v1/me/sessions/current": 5,
    "DELETE /v1/me/sessions/{id}": 5,
    "PATCH /v1/me": 6,  # BEGIN, lock, UPDATE, audit, COMMIT
    "POST /v1/users": 6,  # BEGIN, INSERT, mail, audit, COMMIT
    "PATCH /v1/users/{id}": 7,  # the same, and the links of somebody whose address is unconfirmed
    "DELETE /v1/users/{id}": 12,  # the admins, sessions, links of three kinds, mail
    # a public form: its limits and the mail's, each a unit; the outbox is written for all alike
    "POST /v1/registrations": TRIES + 3,
    "POST /v1/email-verifications": TRIES + 3,
    "POST /v1/password-resets": TRIES + 3,
    # a link: looked at, then in one unit used, with what follows
    "POST /v1/deletions/undo": 6,
    "POST /v1/email-verifications/confirm": 6,
    "POST /v1/registrations/confirm": 9,
    "POST /v1/email-changes/confirm": 9,
    "POST /v1/email-changes/undo": 11,
    "POST /v1/password-resets/confirm": 13,
    # a password: the user is read and the try is paid for, then the unit
    "POST /v1/sessions": 2 + TRIES + 6,
    "PUT /v1/me/password": 2 + 2 * TRIES + 9,  # the second for the change itself
    "POST /v1/me/email": 2 + TRIES + 9,
    "POST /v1/me/deletion": 2 + TRIES + 11,
}


class Caller:
    """Calls routes and counts."""

    def __init__(self, statements: StatementCounter) -> None:
        self._statements = statements
        self.counted: dict[str, int] = {}

    async def call(self, api: Api, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Call a route that has to succeed."""
        async with self._statements.listening() as heard:
            answer = await api.send(method, path, json=body, **more)
        assert answer.status_code < 300, answer.text
        route = f"{method} {_ID.sub('/{id}', path).partition('?')[0]}"
        # the driver looks up what types are, once on each connection
        self.counted[route] = sum(not any(own in sql for own in _DRIVERS_OWN) for sql in heard)
        return answer.json() if answer.content else None


async def test_each_route_says_so_much_to_the_database(
    denizen: Denizen[UserModel],
    admin: Api,
    anonymous: Api,
    post: Post,
    statements: StatementCounter,
) -> None:
    """Every route of the document, each called with success."""
    await admin.get("/v1/users")  # connections and type look-ups are paid once
    caller = Caller(statements)

    ann = await _register(caller, anonymous, post)
    await _use(caller, ann, post)
    await _administer(caller, admin, anonymous, denizen, ann)
    await _be_verified(caller, anonymous, denizen, post)
    await _leave(caller, anonymous, ann, post)
    for path in ("/healthz", "/readyz"):
        await caller.call(anonymous, "GET", path)

    assert caller.counted == BUDGETS


def test_budget_of_every_route_is_known(app: FastAPI) -> None:
    """Nothing is documented whose cost nobody has said."""
    documented = {
        f"{method.upper()} {path}"
        for path, item in app.openapi()["paths"].items()
        for method in item
    }
    assert documented - BUDGETS.keys() == APART


async def _register(caller: Caller, anonymous: Api, post: Post) -> Api:
    email = "ann@example.com"
    await caller.call(anonymous, "POST", "/v1/registrations", {"email": email})
    token = (await post.one_to(email)).token
    chosen = {"token": token, "username": "ann", "password": PASSWORD}
    await caller.call(anonymous, "POST", "/v1/registrations/confirm", chosen)
    who = {"email": email, "password": PASSWORD}
    started = await caller.call(anonymous, "POST", "/v1/sessions", who)
    return Api(anonymous.client, started["token"])


async def _use(caller: Caller, ann: Api, post: Post) -> None:
    await caller.call(ann, "GET", "/v1/me")
    await caller.call(ann, "PATCH", "/v1/me", {"locale": "ru"})
    await caller.call(ann, "GET", "/v1/me/export")
    body = {"current_password": PASSWORD, "new_password": NEW}
    await caller.call(ann, "PUT", "/v1/me/password", body)
    asked = {"email": "new@example.com", "password": NEW}
    await caller.call(ann, "POST", "/v1/me/email", asked)
    undo = (await post.all_to("ann@example.com"))[-1].token
    confirm = (await post.one_to("new@example.com")).token
    anyone = Api(ann.client)
    await caller.call(anyone, "POST", "/v1/email-changes/confirm", {"token": confirm})
    await caller.call(anyone, "POST", "/v1/email-changes/undo", {"token": undo})


async def _administer(
    caller: Caller, admin: Api, anonymous: Api, denizen: Denizen[UserModel], ann: Api
) -> None:
    ben = {"email": "ben@example.com", "username": "ben"}
    user = f"/v1/users/{(await caller.call(admin, 'POST', '/v1/users', ben))['id']}"
    await caller.call(admin, "GET", user)
    await caller.call(admin, "GET", "/v1/users?q=example")
    await caller.call(admin, "PATCH", user, {"locale": "ru"})
    await caller.call(admin, "DELETE", user)
    await caller.call(admin, "GET", "/v1/audit-events")
    secret, _ = await denizen.keys.create_key("another service", ["sessions:read"])
    key = Api(anonymous.client, secret)
    for _ in range(2):  # at its first use of the day it is noted that a key is in use
        await caller.call(key, "POST", "/v1/introspections", {"token": ann.token})


async def _be_verified(
    caller: Caller, anonymous: Api, denizen: Denizen[UserModel], post: Post
) -> None:
    eve = await a_user(denizen, verified=False)
    body = {"email": eve.email}
    await caller.call(anonymous, "POST", "/v1/email-verifications", body)
    token = (await post.one_to(eve.email)).token
    await caller.call(anonymous, "POST", "/v1/email-verifications/confirm", {"token": token})


async def _leave(caller: Caller, anonymous: Api, ann: Api, post: Post) -> None:
    email = "ann@example.com"
    devices = (await caller.call(ann, "GET", "/v1/me/sessions"))["items"]
    await caller.call(ann, "DELETE", f"/v1/me/sessions/{devices[0]['id']}")
    for path in ("/v1/me/sessions/current", "/v1/me/sessions"):
        await caller.call(await anonymous.signed_in(email, NEW), "DELETE", path)
    await post.deliver()
    await caller.call(anonymous, "POST", "/v1/password-resets", {"email": email})
    token = (await post.all_to(email))[-1].token
    body = {"token": token, "password": PASSWORD}
    await caller.call(anonymous, "POST", "/v1/password-resets/confirm", body)
    again = await anonymous.signed_in(email, PASSWORD)
    await caller.call(again, "POST", "/v1/me/deletion", {"password": PASSWORD})
    undo = (await post.all_to(email))[-1].token
    await caller.call(anonymous, "POST", "/v1/deletions/undo", {"token": undo})
