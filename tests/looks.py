"""What is wrong with how a page looks: too wide anywhere, or anything that axe finds."""

from collections.abc import Iterator
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WIDTHS = (320, 768, 1280)
AXE: dict[str, dict[str, Any]] = {
    "light": {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},  # the rest is the same
}


def faults(page: Page) -> Iterator[str]:
    """Look at every width, in light and dark, and with text twice as large."""
    page.evaluate(Axe().axe_script)  # half a megabyte: once
    axe = Axe("")
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        for width in WIDTHS if scheme == "light" else ():  # colours move nothing
            page.set_viewport_size({"width": width, "height": 800})
            if (needed := page.evaluate("document.documentElement.scrollWidth")) > width:
                yield f"{needed} px wide at {width}"
        violations = axe.run(page, options=AXE[scheme]).response["violations"]
        yield from (f"{scheme}: {one['id']} {one['nodes'][0]['html']}" for one in violations)
    page.set_viewport_size({"width": 640, "height": 800})
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    if (needed := page.evaluate("document.documentElement.scrollWidth")) > 640:
        yield f"{needed} px wide at 640 with text twice as large"
    page.evaluate("document.documentElement.style.fontSize = ''")
