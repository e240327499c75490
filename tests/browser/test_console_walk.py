"""An admin's way through the users of the console, by clicks alone, with a script and without."""

import re

import pytest
from playwright.sync_api import Browser, expect

from tabs import Site, Tab

PASSWORD = "a fine long passphrase 77"
USERS = "/console/users"
ENGLISH = {
    "create": "Create user", "search": "Search", "disable": "Disable", "disabled": "Disabled",
    "undo": "Undo", "change": "Change", "meet": "Two changes meet",
    "mine": "Save mine all the same",
    "saved": "The changes are saved.", "delete": "Delete the account", "keep": "Keep the account",
    "kept": "The account stays.", "bulk": "2 accounts are disabled. Skipped (yourself: 1).",
    "enabled": "The account is enabled.", "erase": "Erase now", "erased": "The account is erased.",
    "none": "No user matches “nobody”.", "active": "Active",
}  # fmt: skip
RUSSIAN = {
    "create": "Создать пользователя", "search": "Найти", "disable": "Отключить",
    "disabled": "Отключена", "undo": "Вернуть", "change": "Изменить",
    "meet": "Встретились два изменения", "mine": "Всё равно сохранить моё",
    "saved": "Изменения сохранены.", "delete": "Удалить учётную запись",
    "keep": "Сохранить учётную запись", "kept": "Учётная запись сохранена.",
    "bulk": "Отключены 2 учётные записи. Пропущено (вы сами: 1).",
    "enabled": "Учётная запись включена.", "erase": "Стереть сейчас",
    "erased": "Учётная запись стёрта.", "none": "Никто не подходит под запрос «nobody».",
    "active": "Активна",
}  # fmt: skip


@pytest.mark.parametrize(
    ("locale", "words", "scripts"),
    [("en-GB", ENGLISH, False), ("ru-RU", RUSSIAN, True)],
    ids=["English, no script", "Russian, with a script"],
)
def test_users_are_created_found_changed_and_erased(
    chromium: Browser, site: Site, *, locale: str, words: dict[str, str], scripts: bool
) -> None:
    """Create, search, disable, undo, two tabs that meet, many at once, delete, keep, erase."""
    context = chromium.new_context(locale=locale, java_script_enabled=scripts)
    tab = _signed_in(Tab(context.new_page(), site).listen())
    if words is RUSSIAN:
        tab.page.click("footer >> text=Русский")
    for name in ("ann", "bob"):
        tab.open(USERS)
        tab.page.get_by_role("link", name=words["create"]).click()
        tab.fill(email=f"{name}@example.org", username=name)
        assert tab.heading == f"{name}@example.org"

    tab.open(USERS)
    tab.page.fill("#q", "nobody")
    tab.page.get_by_role("search").get_by_role("button", name=words["search"]).click()
    expect(tab.page.locator(".empty")).to_contain_text(words["none"])
    tab.page.fill("#q", "ANN@")
    tab.page.get_by_role("search").get_by_role("button", name=words["search"]).click()
    expect(tab.page.locator("tbody tr")).to_have_count(1)
    tab.page.get_by_role("link", name="ann@example.org").click()
    tab.page.get_by_role("link", name=words["disable"]).click()
    tab.fill(reason="left")
    expect(tab.page.locator(".heading .badge")).to_have_text(words["disabled"])
    tab.page.get_by_role("button", name=words["undo"]).click()
    assert tab.said == words["enabled"]

    second = Tab(context.new_page(), site).listen()
    for one in (tab, second):
        one.open(f"{USERS}?q=ann")
        one.page.get_by_role("link", name="ann@example.org").click()
        one.page.get_by_role("link", name=words["change"], exact=True).click()
    second.fill(username="anna")
    tab.fill(username="annie")
    assert tab.heading == words["meet"]
    tab.page.get_by_role("button", name=words["mine"]).click()
    assert tab.said == words["saved"]

    tab.open(f"{USERS}?order=email")
    for name in ("ann", "bob", "root"):
        tab.page.check(f"tr:has-text('{name}@example.org') [name=id]")
    tab.page.click("button[value=disable]")
    tab.fill(reason="both")
    assert tab.said == words["bulk"]
    assert tab.page.url.endswith("?order=email")

    tab.page.get_by_role("link", name="ann@example.org").click()
    tab.page.get_by_role("link", name=words["delete"]).click()
    tab.fill()
    tab.page.get_by_role("button", name=words["keep"]).click()
    assert tab.said == words["kept"]
    tab.open(f"{tab.page.url}/erase")
    tab.fill(email="bob@example.org")
    assert tab.page.locator("#email-issue").count() == 1
    tab.fill(email="Ann@Example.org")
    assert tab.said == words["erased"]
    expect(tab.page.locator("tbody tr")).to_have_count(2)

    assert (tab.heard, second.heard) == ([], [])


def test_script_searches_counts_and_copies(chromium: Browser, site: Site) -> None:
    """As one types, without a new page; ticks are counted; one key leads to the field, or doesn't.

    What the script can't do, the form does.
    """
    context = chromium.new_context(
        locale="en-GB", permissions=["clipboard-read", "clipboard-write"]
    )
    tab = _signed_in(Tab(context.new_page(), site).listen())
    page = tab.page
    for name in ("ann", "bob"):
        tab.open(f"{USERS}/new")
        tab.fill(email=f"{name}@example.org", username=name)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url.rpartition("/")[2]

    tab.open(USERS)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.evaluate("window.stayed = true")
    page.keyboard.type("bob")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?q=bob&order="))
    expect(page.locator("[role=status]")).to_have_text("1 user")
    page.get_by_role("link", name="bob@example.org").click()
    page.get_by_role("link", name="Users").last.click()
    expect(page.locator("tbody tr")).to_have_count(1)  # back to the list as it was left
    page.evaluate("window.stayed = true")
    page.focus("#q")
    page.select_option("#status", "disabled")
    expect(page.locator(".empty")).to_contain_text("No user matches “bob”.")
    page.keyboard.press("/")  # typed where it may belong
    assert page.evaluate("[window.stayed, document.activeElement.id]") == [True, "q"]
    assert page.input_value("#q").strip("/") == "bob"

    tab.open(USERS)
    page.get_by_label("Select all on this page").check()
    expect(page.locator("[data-selected]")).to_have_text(": 3")
    page.get_by_label("Select bob@example.org").uncheck()
    expect(page.locator("[data-selected]")).to_have_text(": 2")
    page.get_by_role("button", name="Switch the key off").click()
    tab.open(USERS)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == ""
    with page.expect_download() as download:
        page.get_by_role("button", name="Export this list").click()
    assert download.value.suggested_filename.startswith("users-")

    context.clear_cookies()  # signed out elsewhere: the form goes where the sign-in is
    page.fill("#q", "ann")
    page.wait_for_url("**/account/sign-in**")
    assert tab.heard == []


def _signed_in(tab: Tab) -> Tab:
    tab.open(tab.site.first_admin)
    tab.fill(email="root@example.org", username="root", password=PASSWORD)
    tab.fill(email="root@example.org", password=PASSWORD)
    return tab
