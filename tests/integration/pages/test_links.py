"""The pages behind links in mails: looking changes nothing, a button uses them up."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.settings import Settings
from denizen.tokens.model import Purpose
from denizen.users.model import UserModel
from support import PASSWORD, a_user
from webforms import Browser, path_of_link

NEW = "another fine passphrase 88"


async def _registration(denizen: Denizen[UserModel], settings: Settings) -> str:
    await denizen.registrations.request("new@example.com", "en")
    return await _mailed(denizen, settings, "new@example.com", Purpose.REGISTRATION)


async def _verification(denizen: Denizen[UserModel], settings: Settings) -> str:
    await a_user(denizen, email="new@example.com", password=PASSWORD, verified=False)
    await denizen.emails.request_verification("new@example.com", "en")
    return await _mailed(denizen, settings, "new@example.com", Purpose.EMAIL_VERIFICATION)


async def _reset(denizen: Denizen[UserModel], settings: Settings) -> str:
    await a_user(denizen, email="new@example.com", password=PASSWORD)
    await denizen.passwords.request_reset("new@example.com", "en")
    return await _mailed(denizen, settings, "new@example.com", Purpose.PASSWORD_RESET)


async def _change(denizen: Denizen[UserModel], settings: Settings) -> str:
    user = await a_user(denizen, email="old@example.com", password=PASSWORD)
    await denizen.emails.request_change(user.id, "new@example.com", PASSWORD)
    return await _mailed(denizen, settings, "new@example.com", Purpose.EMAIL_CHANGE)


async def _undo(denizen: Denizen[UserModel], settings: Settings) -> str:
    await _change(denizen, settings)
    return path_of_link(settings.mail_folder, "old@example.com", Purpose.EMAIL_UNDO)


async def _deletion(denizen: Denizen[UserModel], settings: Settings) -> str:
    user = await a_user(denizen, email="new@example.com", password=PASSWORD)
    await denizen.account.request_deletion(user.id, PASSWORD)
    return await _mailed(denizen, settings, "new@example.com", Purpose.DELETION_UNDO)


async def _first_admin(denizen: Denizen[UserModel], settings: Settings) -> str:
    token = await denizen.registrations.first_admin_token()
    return f"/account/{Purpose.FIRST_ADMIN}?token={token}"


async def _mailed(
    denizen: Denizen[UserModel], settings: Settings, to: str, purpose: Purpose
) -> str:
    await denizen.mail.send_due()
    return path_of_link(settings.mail_folder, to, purpose)


CHOSEN = {"username": "newcomer", "password": NEW}
LINKS: dict[Purpose, tuple[Callable[..., Awaitable[str]], dict[str, str], str, str]] = {
    Purpose.REGISTRATION: (_registration, CHOSEN, "Your account is ready.", "new@example.com"),
    Purpose.EMAIL_VERIFICATION: (_verification, {}, "is confirmed", "new@example.com"),
    Purpose.PASSWORD_RESET: (_reset, {"password": NEW}, "is set", "new@example.com"),
    Purpose.EMAIL_CHANGE: (_change, {}, "is changed", "new@example.com"),
    Purpose.EMAIL_UNDO: (_undo, {}, "old address again", "old@example.com"),
    Purpose.DELETION_UNDO: (_deletion, {}, "Your account stays", "new@example.com"),
    Purpose.FIRST_ADMIN: (
        _first_admin,
        CHOSEN | {"email": "root@example.com"},
        "administrator's account is ready",
        "root@example.com",
    ),
}
NEW_WAY = {
    Purpose.REGISTRATION: "/account/register",
    Purpose.EMAIL_VERIFICATION: "/account/verify",
    Purpose.PASSWORD_RESET: "/account/forgot",
    Purpose.EMAIL_CHANGE: "/account/email",
    Purpose.EMAIL_UNDO: "/account/forgot",
    Purpose.DELETION_UNDO: "/account/sign-in",
    Purpose.FIRST_ADMIN: "/account/sign-in",
}


def test_every_purpose_is_tested() -> None:
    """A new kind of link needs a page, and a test of it."""
    assert set(LINKS) == set(Purpose) == set(NEW_WAY)


@pytest.mark.parametrize("purpose", LINKS)
async def test_link_works_once_after_it_was_looked_at(
    browser: Browser, denizen: Denizen[UserModel], settings: Settings, purpose: Purpose
) -> None:
    """Scanners may open it (T-RST-12); the form uses it up; then the page leads to a new one."""
    make, fields, said, email = LINKS[purpose]
    link = await make(denizen, settings)
    for _ in range(3):
        await browser.client.get(link)
        await browser.client.head(link)
    done = await browser.fill(link, **fields)
    dead = await browser.open(link)

    assert said in done.said, done.text
    assert (dead.status, dead.heading) == (400, "This link does not work any more")
    assert f'href="{NEW_WAY[purpose]}"' in dead.text
    async with denizen.db.get_session(read_only=True) as db:
        user = await UserModel.get_by_email(db, email)
    assert user is not None
    assert user.role == ("admin" if purpose is Purpose.FIRST_ADMIN else "user")


@pytest.mark.parametrize("purpose", LINKS)
async def test_t_ses_10_looking_at_a_link_gives_no_session(
    browser: Browser, denizen: Denizen[UserModel], settings: Settings, purpose: Purpose
) -> None:
    """T-SES-10: neither GET nor POST signs anybody in, and no address is passed on by referrer."""
    make, fields, _, _ = LINKS[purpose]
    link = await make(denizen, settings)
    shown = await browser.open(link)
    done = await browser.fill(link, **fields)

    assert "__Host-session" not in browser.client.cookies
    assert "__Host-session" not in str(shown.answer.headers)
    assert shown.answer.headers["referrer-policy"] == "no-referrer"
    assert done.heading == "Sign in"


@pytest.mark.parametrize("purpose", LINKS)
async def test_t_csrf_3_t_rst_12_looking_at_a_link_changes_no_row(
    browser: Browser,
    denizen: Denizen[UserModel],
    settings: Settings,
    databases: Databases,
    purpose: Purpose,
) -> None:
    """T-CSRF-3: every table is as it was, for a good link and for a dead one."""
    make, _, _, _ = LINKS[purpose]
    link = await make(denizen, settings)
    before = await _hashes(databases)
    for path in (link, link[:-3] + "AAA"):
        await browser.client.get(path)
        await browser.client.head(path)

    assert await _hashes(databases) == before


async def _hashes(databases: Databases) -> dict[str, Any]:
    async with superuser(databases.owner_url) as connection:
        names = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        every = "SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM"
        return {name: await connection.fetchval(f'{every} "{name}" t') for (name,) in names}


async def test_link_of_another_purpose_is_dead(
    browser: Browser, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """A token is good for one purpose (T-RST-5): every other page takes it for no link."""
    link = await _reset(denizen, settings)
    pages = {
        purpose: (await browser.open(link.replace("/password-reset?", f"/{purpose}?"))).status
        for purpose in Purpose
    }

    assert {purpose for purpose, status in pages.items() if status == 200} == {"password-reset"}


async def test_refused_password_leaves_the_link_good(
    browser: Browser, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """What is wrong stands at its field, what was typed stays, and the next try works."""
    link = await _registration(denizen, settings)
    await a_user(denizen, username="taken")
    both = await browser.fill(link, username="not a name", password="short")
    taken = await browser.send(both.forms["/account/registration"], username="Taken", password=NEW)
    own = await browser.send(
        taken.forms["/account/registration"], username="newcomer", password="newcomer 2026 2027 !"
    )
    done = await browser.send(own.forms["/account/registration"], password=NEW)

    assert both.status == 422
    assert "1 to 64 letters" in both.alert
    assert "at least 15 characters" in both.alert
    assert (taken.status, taken.forms["/account/registration"].fields["username"]) == (409, "Taken")
    assert "belongs to somebody else" in taken.alert
    assert "your own name" in own.alert
    assert "ready" in done.said


async def test_old_link_is_told_from_a_dead_one_by_nothing(
    browser: Browser, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """Expired, used and guessed links show the same page."""
    link = await _reset(denizen, settings)
    denizen.clock.skew += timedelta(hours=2)
    pages = [await browser.open(path) for path in (link, link[:-4] + "AAAA", link + "x")]

    assert {page.status for page in pages} == {400}
    assert len({page.text.partition("<footer")[0] for page in pages}) == 1


async def test_taken_address_is_said_where_a_change_is_confirmed(
    browser: Browser, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """An address that somebody else has by now stays theirs."""
    link = await _change(denizen, settings)
    await a_user(denizen, email="new@example.com")
    page = await browser.fill(link)

    assert (page.status, page.alert) == (
        409,
        "There is a problem This address belongs to another account.",
    )
