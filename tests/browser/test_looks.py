"""Every page at every width, in light and dark, in both languages: nothing overflows, axe is still.

With the keyboard alone, with text twice as large, with what the script adds.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from looks import faults
from tabs import Site, Tab

PASSWORD = "a fine long passphrase 77"
LONG_NAME = "wolfeschlegelsteinhausenbergerdorff-wolfeschlegelsteinhausen"
USERS = "/console/users"
OUTSIDE = (
    "/",
    "/account/sign-in",
    "/account/register",
    "/account/forgot",
    "/account/verify",
    "/account/mail-sent",
    "/account/nothing",
    "/account/registration?token=x",
    "/account/password-reset?token=x",
    "/account/email-undo?token=x",
)
INSIDE = (
    "/account",
    "/account/username",
    "/account/password",
    "/account/email",
    "/account/language",
    "/account/sessions",
    "/account/activity",
    "/account/data",
    "/account/delete",
    "/dev/mail",
)


@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
def test_pages_hold_up(chromium: Browser, site: Site, locale: str) -> None:
    """No sideways scroll, no violation that axe finds, an empty console; errors in forms, too."""
    context = chromium.new_context(locale=locale)
    tab = Tab(context.new_page(), site).listen()
    found: list[str] = []
    for state in _states(tab):
        found += (f"{state}: {one}" for one in faults(tab.page))

    assert found == []
    assert tab.heard == []


def _states(tab: Tab) -> Iterator[str]:
    """Go through every page, and give the name of each."""
    tab.open(tab.site.first_admin)
    yield "first admin"
    tab.fill(email="no address", username="not a name", password="short")
    yield "first admin, refused"
    tab.fill(email="root@example.org", username=LONG_NAME, password=PASSWORD)
    yield "first admin, made"
    for path in OUTSIDE:
        tab.open(path)
        yield path
    tab.open("/account/sign-in")
    tab.fill(email="root@example.org", password="wrong")
    yield "sign-in, refused"
    tab.fill(email="root@example.org", password=PASSWORD)
    tab.open("/account/email")
    tab.fill(email=f"{LONG_NAME}@example.org", current_password=PASSWORD)
    yield "e-mail, pending"
    for path in INSIDE:
        tab.open(path)
        yield path
    tab.page.click(".rows a")
    yield "mail"
    tab.page.click("pre.mail a")
    yield "link"
    tab.open("/account/password")
    tab.fill(current_password="wrong", password=PASSWORD)
    yield "password, refused"


@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
def test_users_of_the_console_hold_up(chromium: Browser, site: Site, locale: str) -> None:
    """The list with and without anybody, one user in every state, each page that asks first."""
    context = chromium.new_context(locale=locale)
    tab = Tab(context.new_page(), site).listen()
    found: list[str] = []
    for state in _users_states(tab, Tab(context.new_page(), site).listen()):
        found += (f"{state}: {one}" for one in faults(tab.page))

    assert found == []
    assert tab.heard == []


def _users_states(tab: Tab, second: Tab) -> Iterator[str]:
    tab.open(tab.site.first_admin)
    tab.fill(email="root@example.org", username=LONG_NAME, password=PASSWORD)
    tab.fill(email="root@example.org", password=PASSWORD)
    if tab.page.evaluate("navigator.language") == "ru-RU":
        tab.page.click("footer >> text=Русский")
    tab.open(USERS)
    yield "list, alone"
    tab.open(f"{USERS}/new")
    tab.fill(email="no address", username="not a name")
    yield "new, refused"
    tab.fill(email=f"{LONG_NAME}@example.org", username="ann")
    user = tab.page.url
    yield "user, invited"
    for path in ("disable", "delete", "erase", "reset-password", "end-sessions"):
        tab.open(f"{user}/{path}")
        yield path
    tab.fill()
    tab.open(f"{user}/change")
    second.open(f"{user}/change")
    second.fill(username="anna")
    tab.fill(username="annie")
    yield "conflict"
    tab.open(f"{user}/disable")
    tab.fill()
    yield "user, disabled"
    tab.open(f"{user}/delete")
    tab.fill()
    yield "user, leaving"
    for path in ("", "?q=a&status=leaving&role=user", "?q=nobody", "/nobody"):
        tab.open(f"{USERS}{path}")
        yield f"list {path}"
    tab.open(f"{USERS}/bulk?act=delete&all=yes")
    yield "bulk, nothing to do"
    tab.open(f"{USERS}/new")
    tab.fill(email="bob@example.org", username="bob")
    tab.open(f"{USERS}/bulk?act=disable&all=yes")
    yield "bulk"


def test_keyboard_and_script_help(chromium: Browser, site: Site) -> None:
    """Tab reaches everything with a focus to be seen; paste pastes; a double click sends once."""
    tab = Tab(chromium.new_context(locale="en-GB").new_page(), site).listen()
    page = tab.page
    tab.open("/account/sign-in")
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText.trim().split('\\n')[0]"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", reached
    assert reached == [
        *("Skip to the content", "Denizen", "", "", "Show", "Sign in"),
        *("Forgot the password?", "Create an account", "Русский"),
    ]

    page.fill("#email", "pasted passphrase 123")
    page.focus("#email")
    page.keyboard.press("Control+A")
    page.keyboard.press("Control+C")
    page.focus("#password")
    page.keyboard.press("Control+V")
    assert page.input_value("#password") == "pasted passphrase 123"  # T-UI-1

    page.get_by_role("button", name="Show").click()
    assert page.get_attribute("#password", "type") == "text"
    page.get_by_role("button", name="Hide").click()
    assert page.get_attribute("#password", "type") == "password"

    page.get_by_role("button", name="Show").click()
    tab.fill()
    assert page.evaluate("document.activeElement.className") == "note bad summary"
    assert page.title() == "Error: Sign in - Denizen"
    page.click(".summary a")
    assert page.evaluate("document.activeElement.id") == "email"

    sent: list[str] = []
    page.on("request", lambda asked: sent.append(asked.method))
    tab.open("/account/register")
    page.fill("#email", "ann@example.org")
    page.dblclick("main form .actions button")
    page.wait_for_url("**/account/mail-sent")
    assert sent.count("POST") == 1
    assert tab.heard == []
