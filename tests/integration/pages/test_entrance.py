"""The pages of whoever is not signed in."""

import httpx
import pytest
from fastapi import FastAPI

from denizen.app import Denizen, create_app
from denizen.settings import Settings
from denizen.users.model import UserModel
from support import PASSWORD, StatementCounter, a_user
from webforms import Browser, Page, mails_in, path_of_link


@pytest.mark.parametrize(
    ("path", "english", "russian_heading"),
    [
        ("/", "User accounts", "Учётные записи"),
        ("/account/sign-in", "Sign in", "Войти"),
        ("/account/register", "Create an account", "Создать учётную запись"),
        ("/account/forgot", "Forgot the password?", "Забыли пароль?"),
        ("/account/verify", "Confirm an e-mail address", "Подтверждение адреса почты"),
        ("/account/mail-sent", "Check your mail", "Проверьте почту"),
        ("/account/language", "Language", "Язык"),
        ("/account/nothing", "There is nothing here", "Здесь ничего нет"),
    ],
)
async def test_page_speaks_the_language_that_the_browser_prefers(
    browser: Browser, russian: Browser, path: str, english: str, russian_heading: str
) -> None:
    """Each page in English and in Russian, with `lang` to match."""
    pages = [await browser.open(path), await russian.open(path)]

    assert [page.heading for page in pages] == [english, russian_heading]
    assert [dict(page.tags)["html"]["lang"] for page in pages] == ["en", "ru"]


async def test_registration_leads_from_the_form_to_my_account(
    browser: Browser, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """Address, mail, link, username and password, sign-in: by forms alone."""
    sent = await browser.fill("/account/register", email=" new@example.com ")
    assert (sent.heading, sent.said) == (
        "Check your mail",
        "A mail is on its way to new@example.com.",
    )
    await denizen.mail.send_due()
    link = path_of_link(settings.mail_folder, "new@example.com", "registration")
    ready = await browser.fill(link, username="newcomer", password=PASSWORD)
    assert (ready.path, ready.said) == ("/account/sign-in", "Your account is ready. Sign in.")
    page = await browser.sign_in("new@example.com", PASSWORD)

    assert page.heading == "My account"
    assert "newcomer" in page.text


async def test_known_address_leads_to_the_same_page(
    browser: Browser, ann: UserModel, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """Registering and forgetting say the same, whether or not an address is known."""
    for path in ("/account/register", "/account/forgot", "/account/verify"):
        pages = [
            await browser.fill(path, email=address) for address in (ann.email, "x@example.com")
        ]
        texts = [page.text.replace(ann.email, "x@example.com") for page in pages]
        heads = [text.partition("<footer")[0] for text in texts]
        assert heads[0] == heads[1]
    await denizen.mail.send_due()
    assert {str(mail["to"]) for mail in mails_in(settings.mail_folder)} == {
        ann.email,
        "x@example.com",
    }


async def test_language_of_the_page_is_the_mails(
    russian: Browser, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """Whoever registers on a Russian page gets a Russian mail."""
    await russian.fill("/account/register", email="neu@example.com")
    await denizen.mail.send_due()

    assert mails_in(settings.mail_folder)[-1]["subject"] == "Подтвердите адрес почты"


@pytest.mark.parametrize("registration", ["invite", "off"])
async def test_closed_registration_offers_no_form(settings: Settings, registration: str) -> None:
    """Where strangers may not register, no page leads them to try, and a form sent is refused."""
    app = create_app(settings.model_copy(update={"registration": registration}))
    async with app.router.lifespan_context(app):
        browser = Browser.of(app)
        front, sign_in, register = [
            await browser.open(path) for path in ("/", "/account/sign-in", "/account/register")
        ]
        form = register.forms["/account/language"]
        form.action = "/account/register"
        refused = await browser.send(form, email="new@example.com")

    assert "/account/register" not in front.text + sign_in.text
    assert "/account/register" not in register.forms
    assert (refused.status, refused.alert) == (
        403,
        "There is a problem Registration is closed here.",
    )


async def test_wrong_password_shows_the_form_again(browser: Browser, ann: UserModel) -> None:
    """401, the address is kept, the password is not, and the title says that there is an error."""
    page = await browser.sign_in(ann.email, "wrong password of mine")

    assert page.status == 401
    assert "The e-mail address or the password is wrong" in page.alert
    assert page.forms["/account/sign-in"].fields["email"] == ann.email
    assert page.forms["/account/sign-in"].fields["password"] == ""
    assert "<title>Error: Sign in - Denizen</title>" in page.text
    assert "wrong password of mine" not in page.text


async def test_unknown_and_wrong_look_the_same(browser: Browser, ann: UserModel) -> None:
    """The page that answers a failed sign-in tells nobody which addresses are known."""
    heads = [
        _without_token(await browser.sign_in(to, "wrong")).replace(to, "whoever")
        for to in (ann.email, "nobody@example.com")
    ]

    assert heads[0] == heads[1]


def _without_token(page: Page) -> str:
    lines = page.text.partition("<footer")[0].splitlines()
    return "\n".join(line for line in lines if 'name="form"' not in line)


async def test_forgotten_password_keeps_the_address(browser: Browser) -> None:
    """The button beside signing in brings the address along, and it stands in no URL."""
    form = (await browser.open("/account/sign-in")).forms["/account/sign-in"]
    page = await browser.send(form, email="ann@example.com", forgot="yes")

    assert (page.heading, page.path) == ("Forgot the password?", "/account/sign-in")
    assert page.forms["/account/forgot"].fields["email"] == "ann@example.com"


async def test_sign_in_leads_back_to_the_page_that_was_asked_for(
    browser: Browser, ann: UserModel
) -> None:
    """Asked for signed out, a page comes after signing in, with its query."""
    page = await browser.open("/account/activity?cursor=")
    assert page.heading == "Sign in"
    page = await browser.send(page.forms["/account/sign-in"], email=ann.email, password=PASSWORD)

    assert (page.heading, page.path) == ("Activity", "/account/activity?cursor=")


@pytest.mark.parametrize("target", ["//evil.example", "/\t/evil.example"])
async def test_t_red_1_sign_in_leads_nowhere_else(
    browser: Browser, ann: UserModel, target: str
) -> None:
    """T-RED-1: a `next` that is no path of ours leads to my account, from the form and the URL.

    What counts as a path of ours is tried in `tests/unit/pages/test_visit.py`.
    """
    form = (await browser.open("/account/sign-in")).forms["/account/sign-in"]
    answer = await browser.post(form, {"email": ann.email, "password": PASSWORD, "next": target})
    asked = httpx.URL("/account/sign-in", params={"next": target})
    signed_in = await browser.client.get(asked)

    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/account")


async def test_t_ses_3_cookie_from_before_is_never_the_session(
    browser: Browser, ann: UserModel, app: FastAPI
) -> None:
    """T-SES-3: signing in gives a new token whatever the browser brought, and the old one ends."""
    planted = "dz_" + "A" * 64
    browser.client.cookies.set("__Host-session", planted, domain="denizen.test")
    await browser.sign_in(ann.email, PASSWORD)
    first = browser.client.cookies["__Host-session"]
    await browser.client.get("/account")
    form = (await browser.open("/account/language")).forms["/account/language"]
    form.action = "/account/sign-in"
    await browser.send(form, email=ann.email, password=PASSWORD)
    second = browser.client.cookies["__Host-session"]
    other = Browser.of(app)
    other.client.cookies.set("__Host-session", first, domain="denizen.test")

    assert len({planted, first, second}) == 3
    assert (await other.open("/account")).heading == "Sign in"
    assert (await browser.open("/account")).heading == "My account"


async def test_sign_out_ends_the_session(signed_in: Browser, app: FastAPI) -> None:
    """The cookie goes, the token is dead, the browser forgets what it has kept."""
    token = signed_in.client.cookies["__Host-session"]
    form = (await signed_in.open("/account")).forms["/account/sign-out"]
    answer = await signed_in.post(form)
    page = await signed_in.open("/account")
    other = Browser.of(app)
    other.client.cookies.set("__Host-session", token, domain="denizen.test")

    assert answer.headers["clear-site-data"] == '"cache", "storage"'
    assert (page.heading, page.said) == ("Sign in", "You are signed out.")
    assert (await other.open("/account")).heading == "Sign in"


async def test_plain_http_elsewhere_says_why_nobody_can_sign_in(
    app: FastAPI, ann: UserModel
) -> None:
    """Over plain HTTP from another machine the page says so; on localhost and HTTPS it doesn't."""
    told = {}
    for base in ("http://192.0.2.7:8000", "http://localhost:8000", "https://denizen.test"):
        browser = Browser.of(app, base_url=base)
        told[base] = "plain HTTP" in (await browser.open("/account/sign-in")).text
        proven = await browser.open("/account/sign-in", **{"Sec-Fetch-Site": "none"})
        assert "plain HTTP" not in proven.text  # browsers send it over HTTPS alone

    assert list(told.values()) == [True, False, False]


async def test_signing_in_costs_as_many_statements_as_by_the_api(
    browser: Browser, denizen: Denizen[UserModel], statements: StatementCounter
) -> None:
    """The page adds no statement to the scenario, and the entrance none at all."""
    user = await a_user(denizen, password=PASSWORD)
    form = (await browser.open("/account/sign-in")).forms["/account/sign-in"]
    async with statements.listening() as heard:
        await browser.open("/account/sign-in")
        assert heard == []
        await browser.post(form, {"email": user.email, "password": PASSWORD})
    by_page = len(heard)
    async with statements.listening() as heard:
        body = {"email": user.email, "password": PASSWORD}
        await browser.client.post("/v1/sessions", json=body)

    assert by_page == len(heard)
