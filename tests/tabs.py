"""What tests in a real browser work with: a running service, and a page whose console is heard."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from playwright.sync_api import ConsoleMessage, Page

from processes import Service

_MEANT: Final = ("the server responded with a status of 4", "Clear-Site-Data header on")


@dataclass(frozen=True, slots=True)
class Site:
    """A service under --dev, and its folder."""

    service: Service
    folder: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.service.port}"

    @property
    def first_admin(self) -> str:
        """Give the link that it left at its start."""
        return (self.folder / "first-admin-link.txt").read_text("utf-8").strip()


@dataclass  # no slots: Playwright notes handlers on the object that they belong to
class Tab:
    """A page, and all that its console has said.

    Left out is what Chromium notes of an answer that is no 2xx, and of one that has it clear what
    it keeps: such answers are meant.
    """

    page: Page
    site: Site
    heard: list[str] = field(default_factory=list)

    def listen(self) -> "Tab":
        """Begin to listen."""
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.heard.append(str(error)))
        return self

    def open(self, path: str) -> None:
        """Go to a path, or to an address as it stands."""
        self.page.goto(path if path.startswith("http") else f"{self.site.url}{path}")

    def fill(self, **fields: str) -> None:
        """Fill fields by their ids, and press the button of the form in the page."""
        for name, value in fields.items():
            self.page.fill(f"#{name}", value)
        self.page.click("main form .actions button:not([name])")

    @property
    def heading(self) -> str:
        """The page's heading."""
        return self.page.inner_text("h1")

    @property
    def said(self) -> str:
        """The sentence that was left for this page."""
        return self.page.inner_text("[role=status]")

    def _note(self, message: ConsoleMessage) -> None:
        if not any(sign in message.text for sign in _MEANT):
            self.heard.append(f"{message.type}: {message.text} ({self.page.url})")
