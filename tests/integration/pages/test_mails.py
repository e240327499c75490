"""The folder of mails as a page: under --dev, for the person at this machine alone."""

from collections.abc import AsyncIterator

import pytest

from denizen.app import Denizen, create_app
from denizen.settings import Settings
from denizen.users.model import UserModel
from webforms import Browser

LOCAL = "http://127.0.0.1:8000"


@pytest.fixture
async def local(settings: Settings) -> AsyncIterator[Browser]:
    """Give a browser at a service under --dev that has sent two mails."""
    app = create_app(settings, is_dev=True)
    denizen: Denizen[UserModel] = app.state.denizen
    await denizen.start()
    for address in ("first@example.com", "second@example.com"):
        await denizen.registrations.request(address, "en")
        await denizen.mail.send_due()
    yield Browser.of(app, base_url=LOCAL)
    await denizen.stop()


async def test_mails_are_listed_and_read(local: Browser) -> None:
    """The newest first; each with its text, a link to click, and its HTML in a frame."""
    page = await local.open("/dev/mail")
    names = [
        told["href"] for tag, told in page.tags if tag == "a" and "/dev/mail/" in str(told["href"])
    ]
    mail = await local.open(str(names[0]))
    frame = await local.client.get(f"{names[0]}/html")

    assert page.text.index("second@example.com") < page.text.index("first@example.com")
    assert mail.heading == "Confirm your e-mail address"
    links = [str(told["href"]) for tag, told in mail.tags if tag == "a"]
    assert any(link.startswith(f"{LOCAL}/account/registration?token=dzl_") for link in links)
    assert dict(mail.tags)["iframe"]["sandbox"] == "allow-top-navigation-by-user-activation"
    assert "frame-src 'self'" in mail.answer.headers["content-security-policy"]
    policy = frame.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox " in policy
    assert "frame-ancestors 'self'" in policy
    assert "script-src" not in policy


@pytest.mark.parametrize(
    ("host", "header"),
    [
        ("accounts.example.org", ""),
        ("192.0.2.1:8000", ""),
        ("127.0.0.1.evil.example", ""),
        ("localhost.evil.example", ""),
        ("127.0.0.1:8000", "X-Forwarded-For"),
        ("127.0.0.1:8000", "X-Forwarded-Host"),
        ("localhost", "Forwarded"),
        ("localhost", "X-Real-IP"),
        ("localhost", "Via"),
    ],
)
async def test_mails_are_not_there_for_others(local: Browser, host: str, header: str) -> None:
    """404 by another name of the host (DNS rebinding), and through a proxy."""
    headers = {"Host": host} | ({header: "x"} if header else {})
    for path in ("/dev/mail", "/dev/mail/20260101", "/dev/mail/20260101/html"):
        answer = await local.client.get(path, headers=headers)
        assert answer.status_code == 404


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000"])
async def test_mails_are_there_by_every_name_of_this_machine(local: Browser, host: str) -> None:
    """By any loopback name, with or without a port."""
    assert (await local.client.get("/dev/mail", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("name", ["..%2f..%2fsecret", "%2e%2e", "..", "x%00", ".hidden", "nothing"])
async def test_no_other_file_is_shown(local: Browser, settings: Settings, name: str) -> None:
    """Only mails of the folder, whatever stands beside it."""
    (settings.data_dir / "secret.eml").write_text("Subject: canary\n\n")
    (settings.mail_folder / ".hidden.eml").write_text("Subject: canary\n\n")
    for path in (f"/dev/mail/{name}", f"/dev/mail/{name}/html"):
        answer = await local.client.get(path)
        assert answer.status_code == 404
        assert "canary" not in answer.text


async def test_without_dev_there_is_no_such_page(settings: Settings) -> None:
    """The routes are not there at all."""
    app = create_app(settings)
    browser = Browser.of(app, base_url=LOCAL)

    assert (await browser.client.get("/dev/mail")).status_code == 404
    assert not [route for route in app.routes if "/dev" in str(getattr(route, "path", ""))]
