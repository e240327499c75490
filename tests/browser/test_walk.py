"""A person's way through the pages, from the first admin's link to an account that was kept."""

import pytest
from playwright.sync_api import Browser, expect

from tabs import Site, Tab

PASSWORD = "a fine long passphrase 77"
NEW = "another fine passphrase 88"


@pytest.mark.parametrize("scripts", [True, False], ids=["with a script", "without"])
def test_account_is_made_used_deleted_and_kept(
    chromium: Browser, site: Site, *, scripts: bool
) -> None:
    """By clicks alone, in English and then in Russian; the console stays empty."""
    context = chromium.new_context(locale="en-GB", java_script_enabled=scripts)
    tab = Tab(context.new_page(), site).listen()

    tab.open(site.first_admin)
    tab.fill(email="root@example.org", username="root", password=PASSWORD)
    assert tab.said == "The administrator's account is ready."
    tab.fill(email="root@example.org", password=PASSWORD)
    assert tab.heading == "Overview"
    tab.page.click("text=Sign out")
    assert tab.said == "You are signed out."

    tab.page.click("text=Create an account")
    tab.fill(email="ann@example.org")
    tab.page.click("text=Read the mails here")
    _open_link(tab, "Confirm your e-mail address")
    tab.fill(username="ann", password=PASSWORD)
    assert tab.said == "Your account is ready. Sign in."
    tab.fill(email="ann@example.org", password=PASSWORD)
    assert tab.heading == "My account"

    tab.page.click("footer >> text=Русский")
    assert tab.heading == "Моя учётная запись"
    other = chromium.new_context(locale="ru-RU", java_script_enabled=scripts)
    second = Tab(other.new_page(), site).listen()
    second.open("/account")
    second.fill(email="ann@example.org", password=PASSWORD)
    tab.open("/account/sessions")
    expect(tab.page.locator(".rows li")).to_have_count(2)
    tab.page.get_by_role("button", name="Завершить сеанс").click()
    assert tab.said == "Сеанс завершён."
    second.open("/account")
    assert second.heading == "Войти"

    tab.open("/.well-known/change-password")
    tab.fill(current_password=PASSWORD, password=NEW)
    assert tab.said == "Пароль изменён, сеансы на других устройствах завершены."
    tab.page.click("text=Удалить учётную запись")
    tab.fill(current_password=NEW)
    assert tab.said.startswith("Учётная запись будет стёрта")
    tab.open("/dev/mail")
    _open_link(tab, "Учётная запись будет стёрта")
    assert tab.heading == "Сохранить учётную запись"
    tab.page.click("main form .actions button")
    assert tab.said == "Учётная запись сохранена. Войдите."
    tab.fill(email="ann@example.org", password=NEW)
    assert tab.heading == "Моя учётная запись"

    assert (tab.heard, second.heard) == ([], [])


def _open_link(tab: Tab, subject: str) -> None:
    """Wait for a mail on the page of mails, and follow the link in it."""
    letter = tab.page.get_by_role("link", name=subject)
    for _ in range(60):
        if letter.count():
            break
        tab.page.wait_for_timeout(250)
        tab.page.reload()
    letter.first.click()
    tab.page.click("pre.mail a")
