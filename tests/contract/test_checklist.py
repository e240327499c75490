"""`docs/security.md` and the suite say the same; a guard without a test has its reason there."""

import importlib.metadata
import re
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.sessions import model as sessions
from denizen.settings import Settings
from denizen.throttle import model as throttle
from denizen.tokens.model import LIFE, UNDO_LIFE
from denizen.users.erasure import GRACE
from denizen.users.model import UserModel
from support import PASSWORD, Api, a_user
from webforms import Browser, path_of_link

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "security.md").read_text("utf-8")
TESTS: Final = "".join(p.read_text("utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
# how many there are of each
GUARDS: Final[dict[str, str]] = {
    "adm": "1 2 3", "az": "1 2 3 4 5 6", "boot": "1", "cors": "1", "csrf": "1 2 3 4", "csv": "1",
    "db": "1", "dos": "1", "err": "1", "flow": "1", "hash": "1 2 3 4 5", "hdr": "1 2 3",
    "host": "1", "imp": "1", "inv": "1", "jwt": "1", "log": "1 2", "mail": "1", "mfa": "1 2 3",
    "note": "1", "path": "1", "pre": "1", "pw": "1 2 2b 3 4 5 5b 6 7", "race": "1 2", "red": "1",
    "rst": "1 2 3 4 5 6 7 8 9 10 11 12", "ses": "1 2 3 4 5 6 7 8 9 10", "sql": "1",
    "thr": "1 2 3 4 5 6 7 8 9", "tx": "1", "type": "1", "ui": "1", "xss": "1",
}  # fmt: skip
ALL: Final = {f"T-{kind.upper()}-{n}" for kind, ns in GUARDS.items() for n in ns.split()}


def _tested() -> set[str]:
    """Give the guards that names of tests carry; a name may carry several."""
    names = " ".join(re.findall(r"def (test_\w+)", TESTS))
    found = re.findall(r"(?<=_)t_([a-z]+)_([0-9]+b?)(?=_)", names)
    return {f"T-{kind.upper()}-{number}" for kind, number in found} & ALL


def _left_out() -> set[str]:
    """Give the guards that the page leaves out, each in a row with its reason."""
    part = PAGE.partition("## Left out")[2]
    return {
        guard
        for guard, reason in re.findall(r"^\| (T-[A-Z]+-\w+) \| (.{20,}) \|$", part, re.MULTILINE)
    }


def test_every_guard_is_tested_or_left_out_with_a_reason() -> None:
    """Nothing is forgotten, and nothing that is tested by now is said to be left out."""
    tested, left_out = _tested(), _left_out()

    assert sorted(ALL - tested - left_out) == []
    assert sorted(tested & left_out) == []


def test_page_names_tests_that_are_there_and_every_guard_that_is_tested() -> None:
    """The table of the page is neither behind the suite nor ahead of it."""
    told = set(re.findall(r"T-[A-Z]+-[0-9]+b?", PAGE.partition("## Left out")[0]))
    assert sorted(told - ALL) == []
    assert sorted(_tested() - told) == []
    for name in re.findall(r"`(tests/[\w/]+\.py)`", PAGE):
        assert (ROOT / name).exists(), name


def test_limits_and_lives_on_the_page_are_those_of_the_code() -> None:
    """ASVS 6.1.1 and 7.1.1: what operators read is what is held."""
    rows = {
        name.strip(): value.strip()
        for name, value in re.findall(r"^\|([^|]+)\|([^|]+)\|", PAGE, re.MULTILINE)
    }
    for limit in (v for v in vars(throttle).values() if isinstance(v, throttle.Limit)):
        assert rows[f"`{limit.name}`"] == _told(limit), limit.name
    days = {
        "session, at most": sessions.SESSION_LIFE.days,
        "session without a request": sessions.IDLE_LIFE.days,
        "network of a good sign-in": sessions.NETWORK_LIFE.days,
        "links that undo": UNDO_LIFE.days,
        "grace before an erasure": GRACE.days,
        "audit events": Settings.model_fields["audit_days"].default,
    }
    for name, value in days.items():
        assert rows[name] == f"{value} days"
    assert rows["link to set a new password"] == (
        f"{Settings.model_fields['reset_minutes'].default} minutes"
    )
    others = {life for purpose, life in LIFE.items() if "undo" not in purpose}
    assert [rows["other links"]] == [f"{life.total_seconds() / 3600:.0f} hours" for life in others]


def _told(limit: throttle.Limit) -> str:
    seconds = limit.refill.total_seconds()
    for size, unit in ((86400, "days"), (60, "min")):
        if seconds % size == 0:
            return f"{limit.burst}, then one every {seconds / size:g} {unit}"
    return f"{limit.burst}, then one every {seconds:g} s"


def test_t_jwt_1_no_library_of_self_contained_tokens_is_installed_with_us() -> None:
    """The whole class of their mistakes is absent: nothing signs, nothing verifies."""
    seen: set[str] = set()
    wanted = ["denizen"]
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        wanted += [
            re.split(r"[ ;<>=!~\[(]", one, maxsplit=1)[0] for one in needs if _is_needed(one)
        ]

    assert len(seen) > 20
    assert not [name for name in seen if re.search(r"jwt|jose|authlib|itsdangerous|pickle", name)]


def _is_needed(requirement: str) -> bool:
    return "extra ==" not in requirement or 'extra == "server"' in requirement.replace("'", '"')


JWTS: Final = (
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
    "eyJhbGciOiJIUzI1NiIsImtpZCI6Ii4uLy4uLy4uL2Rldi9udWxsIn0.eyJzdWIiOiIxIn0.AAAA",
    "eyJhbGciOiJSUzI1NiIsImprdSI6Imh0dHA6Ly9ldmlsIn0.eyJzdWIiOiIxIn0.AAAA",
)


@pytest.mark.parametrize("token", JWTS)
async def test_t_jwt_1_self_contained_tokens_open_nothing(anonymous: Api, token: str) -> None:
    """No algorithm, a key from a path, a key from an address: 401 as a session, 400 as a link."""
    bearer = {"Authorization": f"Bearer {token}"}
    for path in ("/v1/me", "/v1/users", "/v1/me/sessions"):
        assert (await anonymous.get(path, headers=bearer)).status_code == 401
    for path in ("email-changes/confirm", "deletions/undo", "email-verifications/confirm"):
        answer = await anonymous.post(f"/v1/{path}", json={"token": token})
        assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")


def test_t_path_1_one_route_and_one_page_start_sessions(app: FastAPI) -> None:
    """ASVS 6.3.4: no answer but the sign-in's has a token, and one scenario makes sessions."""
    document: Any = app.openapi()
    schemas = document["components"]["schemas"]
    giving = {
        f"{method} {path}"
        for path, methods in document["paths"].items()
        for method, route in methods.items()
        for answer in route["responses"].values()
        for content in answer.get("content", {}).values()
        if "token" in schemas.get(_named(content), {}).get("properties", {})
    }
    assert giving == {"post /v1/sessions"}
    source = ROOT / "src" / "denizen"
    calls = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if re.search(r"\b(start_session|sign_in)\(", path.read_text("utf-8"))
    }
    assert calls == {
        "client.py", "pages/entrance.py", "sessions/queries.py", "sessions/routes.py",
        "sessions/scenarios.py",
    }  # fmt: skip


def _named(content: dict[str, Any]) -> str:
    return str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2]


async def test_t_adm_1_nobody_sets_the_password_of_somebody_who_is_there(
    admin: Api, denizen: Denizen[UserModel]
) -> None:
    """An admin and a key may start a reset by mail, and neither give nor see a password."""
    user = await a_user(denizen, password=PASSWORD)
    text, _ = await denizen.keys.create_key("a service", ["users:write"])
    for api in (admin, Api(admin.client, text)):
        for name in ("password", "hashed_password", "new_password"):
            body = {name: "another " + PASSWORD}
            answer = await api.patch(f"/v1/users/{user.id}", json=body)
            assert answer.status_code == 422
    assert "password" not in (await admin.get(f"/v1/users/{user.id}")).json()
    assert await admin.signed_in(user.email, PASSWORD)


async def test_t_adm_2_admin_ends_every_session_of_a_user(
    admin: Api, anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """Disabling ends them all, and enabling again brings none of them back."""
    user = await a_user(denizen, password=PASSWORD)
    devices = [await anonymous.signed_in(user.email, PASSWORD) for _ in range(3)]
    path = f"/v1/users/{user.id}"

    for is_active in (False, True):
        assert (await admin.patch(path, json={"is_active": is_active})).status_code == 200
        assert {(await one.get("/v1/me")).status_code for one in devices} == {401}
    assert await anonymous.signed_in(user.email, PASSWORD)


async def test_t_pre_1_stranger_who_was_first_ends_with_nothing(
    anonymous: Api, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """A stranger registers the address, and claims it for an own account; then its owner comes."""
    mallory = await a_user(denizen, email="mallory@example.com", password=PASSWORD)
    thief = await anonymous.signed_in(mallory.email, PASSWORD)
    await anonymous.post("/v1/registrations", json={"email": "ann@example.com"})
    claim = {"email": "ann@example.com", "password": PASSWORD}
    assert (await thief.post("/v1/me/email", json=claim)).status_code == 202
    await anonymous.post("/v1/registrations", json={"email": "Ann@Example.com"})
    while await denizen.mail.send_due():
        pass
    token = path_of_link(settings.mail_folder, "Ann@", "registration").partition("token=")[2]
    own = "ann's very own passphrase"
    body = {"token": token, "username": "ann", "password": own}
    made = await anonymous.post("/v1/registrations/confirm", json=body)
    assert made.status_code == 201, made.text

    tries = [await anonymous.post("/v1/sessions", json=claim)]
    tries.append(await thief.get(f"/v1/users/{made.json()['id']}"))
    assert [answer.status_code for answer in tries] == [401, 403]
    assert (await thief.get("/v1/me")).json()["email"] == "mallory@example.com"
    ann = await anonymous.signed_in("ann@example.com", own)
    assert len((await ann.get("/v1/me/sessions")).json()["items"]) == 1


async def test_t_ui_1_managers_fill_and_nobody_forbids_to_paste(
    app: FastAPI, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """Every field of a password is one, says whether it is new, and no page looks at pasting."""
    await a_user(denizen, email="ann@example.com", password=PASSWORD)
    await denizen.registrations.request("new@example.com", "en")
    await denizen.passwords.request_reset("ann@example.com", "en")
    while await denizen.mail.send_due():
        pass
    browser = Browser.of(app)
    expected = {"/account/sign-in": {"current-password"}}
    for to, purpose in (("new@", "registration"), ("ann@", "password-reset")):
        expected[path_of_link(settings.mail_folder, to, purpose)] = {"new-password"}
    found = {path: await browser.open(path) for path in expected}
    await browser.sign_in("ann@example.com", PASSWORD)
    both = {"current-password", "new-password"}
    for name in ("password", "email", "delete"):
        path = f"/account/{name}"
        expected[path] = both if name == "password" else {"current-password"}
        found[path] = await browser.open(path)
    script = (await browser.client.get("/assets/script.js")).text
    await browser.client.aclose()

    for path, page in found.items():
        fields = [told for tag, told in page.tags if tag == "input" and "password" in str(told)]
        kinds = {str(f["autocomplete"]) for f in fields if f.get("type") == "password"}
        assert kinds == expected[path], path
        assert "onpaste" not in page.text
        assert not [f for f in fields if "maxlength" in f], path
    assert "paste" not in script
