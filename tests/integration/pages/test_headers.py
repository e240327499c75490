"""Security headers on whatever the service answers, with every status (T-HDR)."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from denizen.app import Denizen, create_app
from denizen.audit.model import Actor
from denizen.http.headers import HSTS
from denizen.settings import Settings
from denizen.users.model import UserModel
from webforms import Browser

# every status that there is, from pages, API, assets and the framework
ASKED = [
    ("GET", "/", 200),
    ("GET", "/account", 303),
    ("GET", "/account/sign-in", 200),
    ("POST", "/account/sign-in", 415),
    ("GET", "/account/registration?token=x", 400),
    ("GET", "/account/nothing", 404),
    ("DELETE", "/account", 405),
    ("GET", "/assets/style.css", 200),
    ("GET", "/docs", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/healthz", 200),
    ("GET", "/v1/me", 401),
    ("GET", "/v1/nothing", 404),
    ("PUT", "/v1/me", 405),
    ("POST", "/v1/sessions", 415),
    ("GET", "/broken", 500),
    ("GET", "/account/broken", 500),
]


@pytest.fixture(params=["http://denizen.test", "https://denizen.test/accounts"])
async def service(
    request: pytest.FixtureRequest, settings: Settings
) -> AsyncIterator[tuple[Browser, bool]]:
    """Give a browser at a service that is seen at that address, with two broken routes."""
    app = create_app(settings.model_copy(update={"base_url": request.param}))

    async def break_down() -> None:
        raise RuntimeError("canary-text-of-a-defect")

    app.add_api_route("/broken", break_down)
    await app.state.denizen.start()
    site = Browser.of(app)
    yield site, request.param.startswith("https")
    await app.state.denizen.stop()


@pytest.mark.parametrize(("method", "path", "status"), ASKED)
async def test_t_hdr_2_every_answer_has_its_headers(
    service: tuple[Browser, bool],
    method: str,
    path: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """T-HDR-1, T-HDR-2: HSTS where the service is seen over HTTPS alone; the rest everywhere."""
    browser, is_secure = service
    if path == "/account/broken":
        monkeypatch.setattr("denizen.pages.site.language_of", None)
        path = "/account/sign-in"
    answer = await browser.client.request(method, path)

    assert answer.status_code == status
    assert answer.headers.get("strict-transport-security") == (
        HSTS["Strict-Transport-Security"] if is_secure else None
    )
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] in {"no-referrer", "same-origin"}
    assert "canary" not in answer.text
    for name in answer.headers:
        assert len(answer.headers.get_list(name)) == 1 or name == "set-cookie"


async def test_t_hdr_3_pages_are_kept_by_nobody(signed_in: Browser) -> None:
    """T-HDR-3: `no-store` on whatever belongs to a person; the assets alone may be kept."""
    for path in ("/account", "/account/sessions", "/account/data/download", "/account/x", "/"):
        assert (await signed_in.client.get(path)).headers["cache-control"] == "no-store"
    page = await signed_in.open("/")
    for tag, told in page.tags:
        url = told.get("href") if tag == "link" else told.get("src")
        if url and url.startswith("/assets/"):
            assert "immutable" in (await signed_in.client.get(url)).headers["cache-control"]


async def test_reset_page_passes_its_address_to_nobody(browser: Browser) -> None:
    """`no-referrer` on the pages of links, dead or not."""
    answer = await browser.client.get("/account/password-reset?token=x")

    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_database_that_is_away_is_told_in_a_page(
    settings: Settings,
) -> None:
    """503 with Retry-After, in words; nothing of the driver."""
    nowhere = SecretStr("postgresql://nobody@127.0.0.1:1/nothing")
    app = create_app(settings.model_copy(update={"database_url": nowhere}))
    async with app.router.lifespan_context(app):
        lost = Browser.of(app)
        lost.client.cookies.set("__Host-session", "dz_" + "A" * 64, domain="denizen.test")
        page = await lost.open("/account")
        lost.client.cookies.clear()
        entrance = await lost.open("/account/register")
        sent = await lost.send(entrance.forms["/account/register"], email="a@example.com")

    for answer in (page, sent):
        assert (answer.status, answer.heading) == (503, "Not available at the moment")
        assert answer.answer.headers["retry-after"]
        assert "Nothing was changed" in answer.text
        assert "127.0.0.1" not in answer.text


async def test_throttled_form_says_when_to_come_back(
    browser: Browser, denizen: Denizen[UserModel]
) -> None:
    """429 in words, with Retry-After, and with what was typed."""
    form = (await browser.open("/account/forgot")).forms["/account/forgot"]
    here = Actor("anonymous", None, "127.0.0.1")
    asked = (
        denizen.passwords.request_reset(f"{n}@example.com", "en", actor=here) for n in range(90)
    )
    await asyncio.gather(*asked, return_exceptions=True)
    last = await browser.post(form, {"email": "user59@example.com"})

    assert last.status_code == 429
    assert int(last.headers["retry-after"]) >= 1
    assert "Too many tries. Try again in " in last.text
    assert "user59@example.com" in last.text
