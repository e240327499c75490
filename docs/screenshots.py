"""`make screenshots`: the main pages, as a real browser shows them, into `docs/screenshots/`.

A service with a few dozen people is filled, walked through and photographed; Chromium is needed
(`apt-get install chromium`).
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

from processes import command, serving
from tabs import Site, Tab

OUT: Final = Path(__file__).parent / "screenshots"
PASSWORD: Final = "a fine long passphrase 77"  # noqa: S105
WIDE: Final = {"width": 1280, "height": 800}
PHONE: Final = {"width": 360, "height": 740}
PEOPLE: Final = (
    *("anna.ivanova", "boris", "chidi.okafor", "daria.k", "emil.larsen", "fatima.z", "gustav"),
    *("helena.w", "ivan.petrov", "jun.sato", "karin.b", "li.wei", "maria.garcia", "nguyen.van"),
    *("olga.smirnova", "пётр.иванов", "quentin", "rosa.lopez", "samir", "tamara.kovacs"),
)


def main() -> None:
    """Make them all."""
    chromium = shutil.which("chromium") or sys.exit("no Chromium: apt-get install chromium")
    OUT.mkdir(exist_ok=True)
    out = OUT.resolve()
    options: dict[str, Any] = {"args": ["--no-sandbox"]} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        os.chdir(name)  # pages that name a folder show a short name
        folder = Path("data")
        browser = playwright.chromium.launch(executable_path=chromium, **options)
        with serving(folder, "--dev", "--workers", "1") as service:
            service.until("/readyz", 200)
            for shot, page in _walk(browser, Site(service, folder), Path(name)):
                page.bring_to_front()
                page.screenshot(path=out / f"{shot}.png")
                print(f"{shot}.png")
        browser.close()


def _walk(browser: Browser, site: Site, folder: Path) -> Iterator[tuple[str, Page]]:
    tab = _tab(browser, site, "en-GB", "light", WIDE)
    tab.open(site.first_admin)
    tab.fill(email="root@example.org", username="root", password=PASSWORD)
    tab.fill(email="root@example.org", password=PASSWORD)
    _fill(site, folder)
    tab.open("/console/users")
    yield "users", tab.page
    tab.page.click("tbody a >> nth=3")
    yield "user", tab.page
    tab.open("/console")
    yield "overview", tab.page
    dark = _tab(browser, site, "en-GB", "dark", WIDE)
    dark.open("/console/audit")
    dark.fill(email="root@example.org", password=PASSWORD)
    yield "audit", dark.page
    phone = _tab(browser, site, "ru-RU", "light", PHONE)
    phone.open("/account/register")
    yield "register-ru", phone.page
    phone.open("/account/sign-in?next=/account")
    phone.fill(email="daria.k@example.org", password=PASSWORD)
    phone.page.click("footer >> text=Русский")
    yield "account-ru", phone.page


def _tab(browser: Browser, site: Site, locale: str, scheme: Any, size: Any) -> Tab:
    context = browser.new_context(locale=locale, color_scheme=scheme, viewport=size)
    return Tab(context.new_page(), site)


def _fill(site: Site, folder: Path) -> None:
    """Have people come in by a file, and some of them sign in."""
    rows = "".join(f"{name}@example.org,{name},true\n" for name in PEOPLE if name.isascii())
    file = folder / "people.csv"
    file.write_text(f"email,username,email_verified\n{rows}", encoding="utf-8")
    command(site.folder, "users", "import", str(file))
    for name in ("daria.k", "samir"):
        command(site.folder, "users", "delete", name, "--yes", "--erase-now")
        words = (f"{name}@example.org", name, "--verified", "--password-stdin")
        command(site.folder, "users", "create", *words, stdin=PASSWORD)
        for _ in range(3):
            site.service.ask(
                "POST", "/v1/sessions", {"email": f"{name}@example.org", "password": PASSWORD}
            )
    command(site.folder, "users", "disable", "gustav")
    command(site.folder, "users", "delete", "quentin", "--yes")


if __name__ == "__main__":
    main()
