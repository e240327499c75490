"""A real browser and a real service: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from processes import serving
from tabs import Site

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run the browser, where there is one; while it runs no test with an event loop can."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    options: dict[str, Any] = {"executable_path": CHROMIUM}
    if os.geteuid() == 0:
        options["args"] = ["--no-sandbox"]  # Chromium has none for root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**options)
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Run a service that nobody has used."""
    folder = tmp_path / "data"
    with serving(folder, "--dev", "--workers", "1") as service:
        service.until("/readyz", 200)
        yield Site(service, folder)
