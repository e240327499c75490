"""The console's sections in a real browser: how they look, and a way through imports and keys."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from looks import faults
from tabs import Site, Tab

PASSWORD = "a fine long passphrase 77"
LONG_NAME = "wolfeschlegelsteinhausenbergerdorff-wolfeschlegelsteinhausen"
CSV = "email,username,phone\nann@example.org,ann,1\nno address,bob,2\nzoe@example.org,zoe,3\n"
PATHS = (
    "/console",
    "/console/imports",
    "/console/imports/new",
    "/console/keys",
    "/console/keys/new",
    "/console/audit",
    "/console/audit?user_id=nobody&from=2026-11-01",
    "/console/system",
    "/dev/mail",
)


@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
def test_sections_hold_up(chromium: Browser, site: Site, tmp_path: Path, locale: str) -> None:
    """Nothing overflows at any width, axe is still, nothing is said in the browser's console."""
    context = chromium.new_context(locale=locale)
    tab = Tab(context.new_page(), site).listen()
    found: list[str] = []
    for state in _states(tab, _file(tmp_path)):
        found += (f"{state}: {one}" for one in faults(tab.page))

    assert found == []
    assert tab.heard == []


def _states(tab: Tab, file: Path) -> Iterator[str]:
    """Go through every page, and give the name of each."""
    page = tab.page
    _begin(tab)
    if page.evaluate("navigator.language") == "ru-RU":
        page.click("footer >> text=Русский")
    tab.open("/console")
    yield "overview, first run"
    tab.open("/console/keys/new")
    page.click("main form .actions button")
    yield "key, refused"
    page.fill("#name", LONG_NAME)
    page.check("input[value='users:read']")
    page.click("main form .actions button")
    yield "key, made"
    tab.open("/console/imports/new")
    page.set_input_files("#file", file)
    page.click("main form .actions button")
    yield "import, refused"
    page.fill("#columns", "phone=")
    page.set_input_files("#file", file)
    page.click("main form .actions button")
    _wait_for(tab, "main form[action$='/start'] button")
    yield "import, checked"
    page.click("main form[action$='/start'] button")
    _wait_for(tab, "#refused")
    yield "import, finished"
    for path in PATHS:
        tab.open(path)
        for details in page.locator("main details").all():
            details.evaluate("it => { it.open = true }")
        yield path
    tab.open("/console/keys")
    page.click(".list .go a")
    yield "key, revoking"


@pytest.mark.parametrize("scripts", [True, False], ids=["with a script", "without"])
def test_file_becomes_users_and_a_key_comes_and_goes(
    chromium: Browser, site: Site, tmp_path: Path, *, scripts: bool
) -> None:
    """By clicks alone: check, start, wait, report; a key made and revoked; all of it in the log."""
    context = chromium.new_context(locale="en-GB", java_script_enabled=scripts)
    tab = Tab(context.new_page(), site).listen()
    page = tab.page
    _begin(tab)
    expect(page.locator(".steps > li")).to_have_count(3)

    page.click("main >> text=Import users")
    _import(tab, _file(tmp_path))
    page.click("nav.sections >> text=API keys")
    secret = _make_key(tab)
    expect(page.get_by_role("button", name="Copy")).to_have_count(1 if scripts else 0)
    asked = context.request.get(
        f"{site.url}/v1/users?username=zoe", headers={"Authorization": f"Bearer {secret}"}
    )
    assert [user["email"] for user in asked.json()["items"]] == ["zoe@example.org"]
    page.click("main >> text=Done")
    _revoke_key(tab)

    page.click("nav.sections >> text=System")
    page.click("text=Send a test mail to me")
    assert tab.said.startswith("A test mail is on its way to root@example.org.")
    page.click("footer >> text=Русский")
    assert tab.heading == "Система"
    page.click("nav.sections >> text=Импорт")
    expect(page.locator("main table")).to_contain_text("Завершён")
    assert tab.heard == []


def _import(tab: Tab, file: Path) -> None:
    """Upload, look at the check, start, wait, fetch the report."""
    page = tab.page
    page.click("details.more summary")
    page.fill("#columns", "phone=")
    page.set_input_files("#file", file)
    page.click("main form .actions button")
    _wait_for(tab, "main form[action$='/start'] button")
    assert tab.heading == "staff.csv"
    expect(page.locator(".counts")).to_contain_text("Invalid")
    expect(page.locator("main table").first).to_contain_text("zoe@example.org")
    page.click("main form[action$='/start'] button")
    _wait_for(tab, "#refused")
    expect(page.locator("main table")).to_contain_text("This is not an e-mail address.")
    with page.expect_download() as downloading:
        page.click("text=Download the refused rows")
    report = downloading.value.path().read_text("utf-8-sig")
    assert report.splitlines()[1] == "3,email,This is not an e-mail address.,no address,bob,2"


def _make_key(tab: Tab) -> str:
    page = tab.page
    page.click("text=Create a key")
    page.fill("#name", "billing")
    page.check("input[value='users:read']")
    page.click("main form .actions button")
    return page.inner_text("#secret")


def _revoke_key(tab: Tab) -> None:
    """Another name does nothing; the right one ends it, and the log tells of it."""
    page = tab.page
    page.click(".list .go a")
    tab.fill(name="Billing")
    assert page.title().startswith("Error: Revoke the key")
    tab.fill(name="billing")
    assert tab.said == "The key “billing” is revoked."
    page.click("nav.sections >> text=Audit log")
    page.select_option("#action", "key.revoked")
    page.click("form.asked button")
    expect(page.locator(".events > li")).to_have_count(1)
    page.click(".events summary")
    expect(page.locator(".events table")).to_contain_text("billing")


def test_progress_moves_by_itself_and_is_spoken(
    chromium: Browser, site: Site, tmp_path: Path
) -> None:
    """With the script the page follows the import to its end without being loaded again by hand."""
    tab = Tab(chromium.new_context(locale="en-GB").new_page(), site).listen()
    _begin(tab)
    file = tmp_path / "many.csv"
    file.write_text("email\n" + "".join(f"user{n}@example.org\n" for n in range(60_000)), "utf-8")
    tab.open("/console/imports/new")
    tab.page.uncheck("#check")
    tab.page.set_input_files("#file", file)
    tab.page.evaluate("""() => sessionStorage.setItem("told", "")""")
    tab.page.click("main form .actions button")
    tab.page.evaluate(
        """() => {
            const spoken = document.querySelector("[data-spoken]");
            if (!spoken) return;
            new MutationObserver(() => sessionStorage.setItem(
                "told", sessionStorage.getItem("told") + spoken.textContent + ";"
            )).observe(spoken, { childList: true });
        }"""
    )
    expect(tab.page.locator(".counts")).to_contain_text("60,000", timeout=120_000)

    told = tab.page.evaluate("""() => sessionStorage.getItem("told")""")
    assert all(part.strip().endswith("0 %") for part in told.split(";") if part)
    assert tab.heard == []


def _begin(tab: Tab) -> None:
    """Make the first admin and sign in, in the language of the browser."""
    tab.open(tab.site.first_admin)
    tab.fill(email="root@example.org", username="root", password=PASSWORD)
    tab.fill(email="root@example.org", password=PASSWORD)


def _file(folder: Path) -> Path:
    file = folder / "staff.csv"
    file.write_text(CSV, encoding="utf-8")
    return file


def _wait_for(tab: Tab, selector: str) -> None:
    """Wait until it is there; the page comes anew by the script, or by its own refresh."""
    expect(tab.page.locator(selector)).to_be_visible(timeout=60_000)
