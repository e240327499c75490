"""Who may come into the console, how long after the sign-in, and what a form of another's does."""

import re
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter
from running import NOBODY, requests_of
from support import PASSWORD, a_user
from webforms import Browser, Form

Service = Denizen[UserModel]
USERS = "/console/users"
EVERYBODY = UserFilter(also_leaving=True)


async def _rows(databases: Databases) -> list[str]:
    """Give what no refused act may change."""
    async with superuser(databases.superuser_url) as connection:
        found: list[Any] = []
        for table in ("users", "audit_events", "outbox", "tokens"):
            found += await connection.fetch(f"SELECT * FROM {table}")
        found += await connection.fetch("SELECT user_id, id FROM sessions")
    return sorted(map(repr, found))


async def _forms(console: Browser, ann: UserModel) -> dict[str, dict[str, Any]]:
    """Give every act with a form that an admin would be taken with."""
    path = f"{USERS}/{ann.id}"
    change = (await console.open(f"{path}/change")).forms[f"{path}/change"].fields
    bulk = (await console.open(f"{USERS}/bulk?act=disable&id={ann.id}")).forms[f"{USERS}/bulk"]
    session = (await console.open(path)).forms[f"{path}/end-session"].fields
    new = {"email": "x@example.com", "username": "x", "role": "user", "locale": "en"}
    return {
        f"{USERS}/new": new,
        "/console/export": {},
        f"{USERS}/bulk": bulk.fields,
        f"{path}/change": {**change, "username": "anna"},
        f"{path}/disable": {"reason": "x"},
        f"{path}/enable": {},
        f"{path}/end-session": session,
        f"{path}/end-sessions": {},
        f"{path}/reset-password": {},
        f"{path}/resend": {},
        f"{path}/delete": {},
        f"{path}/erase": {"email": ann.email},
        f"{path}/keep": {},
    }


@pytest.mark.parametrize("role", ["support", "user"])
async def test_t_az_1_valid_forms_of_others_are_refused_and_change_nothing(
    console: Browser,
    app: FastAPI,
    denizen: Service,
    ann: UserModel,
    *,
    databases: Databases,
    role: str,
) -> None:
    """T-AZ-1: each act, with a token of one's own and all its fields right: 403, no row differs."""
    phone = Browser.of(app)
    await phone.sign_in(ann.email, PASSWORD)
    forms = await _forms(console, ann)
    acts = {path for method, path in requests_of(app) if method == "POST"}
    acts = {
        path.replace(NOBODY, str(ann.id))
        for path in acts
        if path.startswith((USERS, "/console/export"))
    }
    assert acts == set(forms)
    who = phone
    if role == "support":
        who = Browser.of(app)
        await a_user(denizen, email="sue@example.com", password=PASSWORD, role="support")
        await who.sign_in("sue@example.com", PASSWORD)
    token = (await who.open("/account")).forms["/account/sign-out"].fields["form"]
    before = await _rows(databases)
    for path, fields in forms.items():
        answer = await who.post(Form(path, {**fields, "form": token}))
        assert answer.status_code == 403, path
        assert "Your role does not allow this." in answer.text, path

    assert await _rows(databases) == before
    for browser in {id(one): one for one in (phone, who)}.values():
        await browser.client.aclose()


async def test_t_az_1_forms_of_an_admin_are_taken(
    console: Browser, app: FastAPI, denizen: Service, ann: UserModel
) -> None:
    """The same forms from an admin do what they say: what was refused was the role."""
    phone = Browser.of(app)
    await phone.sign_in(ann.email, PASSWORD)
    token = (await console.open("/account")).forms["/account/sign-out"].fields["form"]
    for path, fields in (await _forms(console, ann)).items():
        answer = await console.post(Form(path, {**fields, "form": token}))
        assert answer.status_code in {200, 303, 412, 404, 422}, (path, answer.text)
    await phone.client.aclose()
    found = await denizen.users.list_users(EVERYBODY)

    assert ann.email not in {user.email for user in found}


async def test_t_ses_4_old_sign_in_is_repeated_for_the_console_alone(
    console: Browser, denizen: Service, root: UserModel
) -> None:
    """After twelve hours: led to the sign-in, and back to where one was; my account still opens."""
    where = f"{USERS}?q=root&order=email"
    denizen.clock.skew = timedelta(hours=11, minutes=55)
    assert (await console.open(where)).heading == "Users"
    stale = (await console.open(f"{USERS}/new")).forms[f"{USERS}/new"]
    denizen.clock.skew = timedelta(hours=12, minutes=5)
    asked = await console.open(where)
    refused = await console.send(stale, email="x@example.com", username="x")
    own = await console.open("/account")
    back = await console.send(asked.forms["/account/sign-in"], email=root.email, password=PASSWORD)

    assert (asked.heading, refused.heading, own.heading) == ("Sign in", "Sign in", "My account")
    assert re.fullmatch(r"/account/sign-in\?next=%2Fconsole%2Fusers%3Fq.*&again=yes", asked.path)
    assert (back.heading, back.path) == ("Users", where)
    assert len(await denizen.users.list_users(EVERYBODY)) == 1
