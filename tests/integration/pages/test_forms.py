"""What keeps forms of others out, and what no form may be."""

import re
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie

import httpx
import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.http.route import MAX_BODY
from denizen.users.model import UserModel
from support import PASSWORD, a_user
from webforms import ORIGIN, Browser, Form

EVIL = "https://evil.example"
# (Origin, Sec-Fetch-Site) and whether the form is taken
SENDERS = [
    (ORIGIN, "same-origin", True),
    (ORIGIN, "none", True),
    (ORIGIN, None, True),
    (None, "same-origin", True),
    (None, None, True),  # older than both headers: the token decides
    ("null", "same-origin", True),  # under no-referrer
    ("null", None, False),
    ("null", "cross-site", False),
    (EVIL, None, False),
    (EVIL, "same-origin", False),
    (EVIL, "cross-site", False),
    (ORIGIN, "cross-site", False),
    (ORIGIN, "same-site", False),
    (None, "cross-site", False),
    (f"{ORIGIN}.evil.example", None, False),
    ("https://evil-denizen.test", None, False),
    ("https://sub.denizen.test", None, False),
    ("https://denizen.test:8443", None, False),
    ("denizen.test", None, False),
    ("", None, False),
]


@pytest.mark.parametrize(("origin", "site", "is_taken"), SENDERS)
async def test_t_csrf_1_form_is_taken_from_this_site_alone(
    signed_in: Browser, origin: str | None, site: str | None, *, is_taken: bool
) -> None:
    """T-CSRF-1: by what the browser says of the sender; a refused form has changed nothing."""
    form = (await signed_in.open("/account/username")).forms["/account/username"]
    told = {"Origin": origin, "Sec-Fetch-Site": site}
    headers = {name: value for name, value in told.items() if value is not None}
    answer = await signed_in.post(form, {"username": "changed"}, headers=headers)
    page = await signed_in.open("/account")

    assert answer.status_code == (303 if is_taken else 403)
    assert ("<span>changed</span>" in page.text) == is_taken


@pytest.mark.parametrize("kind", ["none", "empty", "nonsense", "another's", "old", "flipped"])
@pytest.mark.parametrize("path", ["/account/username", "/account/delete", "/account/sign-out"])
async def test_t_csrf_1_form_needs_a_token_of_this_session(
    signed_in: Browser, app: FastAPI, denizen: Denizen[UserModel], path: str, kind: str
) -> None:
    """T-CSRF-1: without one, with another's, or with one from before the sign-in: 403."""
    form = (await signed_in.open("/account")).forms["/account/sign-out"]
    other, stranger = Browser.of(app), await a_user(denizen, password=PASSWORD)
    old = (await other.open("/account/sign-in")).forms["/account/sign-in"].fields["form"]
    await other.sign_in(stranger.email, PASSWORD)
    theirs = (await other.open("/account")).forms["/account/sign-out"].fields["form"]
    mine = form.fields["form"]
    tokens = {"empty": "", "nonsense": "☃!", "another's": theirs, "old": old}
    tokens["flipped"] = ("A" if mine[0] != "A" else "B") + mine[1:]
    sent = Form(path, {} if kind == "none" else {"form": tokens[kind]})
    fields = {"username": "changed", "current_password": PASSWORD}
    answer = await signed_in.post(sent, fields)

    assert answer.status_code == 403
    assert "can't be taken" in answer.text
    assert "<span>ann</span>" in (await signed_in.open("/account")).text


async def test_t_csrf_4_sign_in_needs_a_token_of_this_browser(
    browser: Browser, app: FastAPI, ann: UserModel
) -> None:
    """T-CSRF-4: nobody is signed in by a form that an attacker has fetched, as whoever they are."""
    attacker = Browser.of(app)
    theirs = (await attacker.open("/account/sign-in")).forms["/account/sign-in"]
    await browser.open("/account/sign-in")
    answer = await browser.post(theirs, {"email": ann.email, "password": PASSWORD})

    assert answer.status_code == 403
    assert "__Host-session" not in browser.client.cookies


async def test_browser_without_cookies_is_told_why(app: FastAPI, ann: UserModel) -> None:
    """The form can't be taken, and the page says what is missing."""
    browser = Browser.of(app)
    form = (await browser.open("/account/sign-in")).forms["/account/sign-in"]
    browser.client.cookies.clear()
    page = await browser.send(form, email=ann.email, password=PASSWORD)

    assert page.status == 403
    assert "sent no cookie" in page.text


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"email":"a@example.com"}', "application/json", 415),
        (b"email=a", "text/plain", 415),
        (b"email=a", "", 415),
        (b"--x\r\n", "multipart/form-data; boundary=x", 415),
        (b"email=%ff", "application/x-www-form-urlencoded", 400),
        (b"email=\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"a=1"] * 1001), "application/x-www-form-urlencoded", 400),
        (b"a=" + b"1" * MAX_BODY, "application/x-www-form-urlencoded", 413),
        (b"", "application/x-www-form-urlencoded", 403),
        (b"form=%ED%A0%80", "application/x-www-form-urlencoded", 400),
    ],
)
async def test_t_csrf_2_body_that_is_no_form_is_refused(
    browser: Browser, body: bytes, kind: str, status: int
) -> None:
    """T-CSRF-2: another media type, broken text, too many fields, too long: a page that says so."""
    headers = {"Content-Type": kind} if kind else {}
    answer = await browser.client.post("/account/register", content=body, headers=headers)

    assert answer.status_code == status
    assert "<h1>" in answer.text


async def test_body_without_a_length_is_bounded(browser: Browser) -> None:
    """A stream is cut off at the limit."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"a" * 10_000
        raise AssertionError("it was read to its end")

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await browser.client.post("/account/register", content=endless(), headers=headers)

    assert answer.status_code == 413


async def test_field_that_comes_twice_has_its_last_value(browser: Browser) -> None:
    """One reading, whoever looks (ASVS 15.3.7)."""
    form = (await browser.open("/account/register")).forms["/account/register"]
    body = httpx.QueryParams(
        [("form", form.fields["form"]), ("email", "one@example.com"), ("email", "two@example.com")]
    )
    answer = await browser.client.post(
        "/account/register",
        content=str(body).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        follow_redirects=True,
    )

    assert "two@example.com" in answer.text
    assert "one@example.com" not in answer.text


@pytest.mark.parametrize("value", ["\x00", "a\x00@example.com", "\ud7ff@x", "=cmd|' /C calc'!A0"])
@pytest.mark.parametrize("path", ["/account/register", "/account/forgot", "/account/sign-in"])
async def test_odd_text_is_no_address(browser: Browser, path: str, value: str) -> None:
    """422 at the field, never 500."""
    page = await browser.fill(path, email=value, password="x")

    assert page.status == 422


async def test_t_ses_2_cookies_are_for_this_host_and_no_script(
    signed_in: Browser, ann: UserModel, app: FastAPI
) -> None:
    """T-SES-2: every cookie that is set or removed, on any page, has the prefix and its flags."""
    heard: list[str] = []

    async def listen(response: httpx.Response) -> None:
        heard.extend(response.headers.get_list("set-cookie"))

    signed_in.client.event_hooks["response"].append(listen)
    browser = Browser.of(app)
    browser.client.event_hooks["response"].append(listen)
    await browser.sign_in(ann.email, PASSWORD)
    await signed_in.fill("/account/username", username="anna")
    await signed_in.fill("/account/language", locale="ru")
    await signed_in.send((await signed_in.open("/account")).forms["/account/sign-out"])

    names = set()
    for header in heard:
        ((name, cookie),) = SimpleCookie(header).items()
        names.add(name)
        assert name.startswith("__Host-")
        assert cookie["secure"] is True
        assert cookie["httponly"] is True
        assert (cookie["path"], cookie["samesite"]) == ("/", "lax")
        assert cookie["domain"] == ""
        assert ann.email not in header
    assert names == {
        *("__Host-session", "__Host-form", "__Host-flash", "__Host-language"),
    }


async def test_t_ses_2_session_cookie_lasts_as_long_as_the_session(signed_in: Browser) -> None:
    """The cookie is gone when the session is over, and holds an opaque token."""
    jar = {cookie.name: cookie for cookie in signed_in.client.cookies.jar}
    session = jar["__Host-session"]

    assert session.value is not None
    assert re.fullmatch(r"dz_[A-Za-z0-9_-]{64}", session.value)
    assert session.expires is not None


async def test_api_ignores_the_cookie(signed_in: Browser) -> None:
    """`/v1` knows bearer tokens alone, so that no form of another site can reach it."""
    for method, path in (
        ("GET", "/v1/me"),
        ("GET", "/v1/me/sessions"),
        ("DELETE", "/v1/me/sessions"),
        ("GET", "/v1/users"),
    ):
        answer = await signed_in.client.request(method, path)
        assert answer.status_code == 401, path
    assert (await signed_in.open("/account")).heading == "My account"


@pytest.mark.parametrize("value", ["", "nonsense", "dz_" + "A" * 64, "%E2%98%83"])
async def test_cookie_that_is_no_session_is_no_session(browser: Browser, value: str) -> None:
    """Whoever sends nonsense is simply not signed in."""
    answer = await browser.client.get(
        "/account",
        headers={"Cookie": f"__Host-session={value}; __Host-flash=%%%; __Host-zone=../x"},
    )

    assert answer.status_code == 303
    assert answer.headers["location"] == "/account/sign-in"


async def test_sentence_for_the_next_page_is_shown_once(signed_in: Browser) -> None:
    """It waits through the sign-in page's detour, is shown, and is gone."""
    page = await signed_in.fill("/account/username", username="anna")
    again = await signed_in.open("/account")

    assert page.said == "Your username is changed."
    assert again.said == ""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/account/username", "/account/username"),
        ("/account/sessions/end", "/account"),
        ("/account/sign-out", "/account"),
    ],
)
async def test_way_back_from_a_refused_form_is_a_page(
    signed_in: Browser, path: str, place: str
) -> None:
    """The page of the form, or my account where the path only acts."""
    refused = await signed_in.send(Form(path))

    assert refused.status == 403
    assert f'class="button" href="{place}"' in refused.text
    assert (await signed_in.open(place)).status == 200


async def test_form_of_a_session_that_is_over_leads_to_a_page_after_signing_in(
    signed_in: Browser, ann: UserModel, denizen: Denizen[UserModel]
) -> None:
    """Sent too late, it does nothing; after signing in there is a page, not an act."""
    form = (await signed_in.open("/account")).forms["/account/sign-out"]
    form.action = "/account/sessions/end-others"
    await denizen.sessions.end_all_sessions(ann.id)
    page = await signed_in.send(form)
    back = await signed_in.send(page.forms["/account/sign-in"], email=ann.email, password=PASSWORD)

    assert page.heading == "Sign in"
    assert (back.status, back.path) == (200, "/account")
