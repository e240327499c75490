"""A browser without a script for tests: it keeps cookies, reads forms, and sends them."""

from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Self

import httpx
from fastapi import FastAPI

from mailserver import link_in

HOST = "denizen.test"
ORIGIN = f"https://{HOST}"
FROM_HERE = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}


@dataclass(slots=True)
class Form:
    """A form of a page: where it goes, and what its fields hold."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """An answer as a person sees it.

    Attributes:
        answer: what came over the wire.
        forms: by their action.
        tags: every start tag with its attributes.
        said: the sentence that was left for this page.
        alert: what is wrong with the form.
        heading: the first heading of the first level.
    """

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.answer = answer
        self.status = answer.status_code
        self.path = answer.url.raw_path.decode()
        self.forms: dict[str, Form] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._texts: dict[str, list[str]] = {"h1": [], "status": [], "alert": []}
        self._open: list[tuple[str, str]] = []
        self._form: Form | None = None
        if "html" in answer.headers.get("content-type", ""):
            self.feed(answer.text)

    @property
    def heading(self) -> str:
        """The page's heading."""
        return " ".join("".join(self._texts["h1"]).split())

    @property
    def said(self) -> str:
        """The sentence that was left for this page."""
        return " ".join("".join(self._texts["status"]).split())

    @property
    def alert(self) -> str:
        """What is wrong with the form."""
        return " ".join("".join(self._texts["alert"]).split())

    @property
    def text(self) -> str:
        """The page's source."""
        return self.answer.text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        told = dict(attrs)
        self.tags.append((tag, told))
        for kind in ("h1", "status", "alert"):
            if kind in {tag, told.get("role")}:
                self._open.append((tag, kind))
        if tag == "form":
            self._form = self.forms[told["action"] or ""] = Form(told["action"] or "")
        name = told.get("name")
        is_box = told.get("type") in {"radio", "checkbox"}
        is_sent = tag == "input" and (not is_box or "checked" in told)
        if is_sent and self._form is not None and name:
            self._form.fields[name] = told.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        """Note its end."""
        if self._open and self._open[-1][0] == tag:
            self._open.pop()
        if tag == "form":
            self._form = None

    def handle_data(self, data: str) -> None:
        """Note a text."""
        for _, kind in self._open:
            self._texts[kind].append(data)


@dataclass(slots=True)
class Browser:
    """A browser with its cookies."""

    client: httpx.AsyncClient

    @classmethod
    def of(cls, app: FastAPI, language: str = "en", base_url: str = ORIGIN) -> Self:
        """Open one."""
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        headers = {"Accept": "text/html", "Accept-Language": language}
        return cls(httpx.AsyncClient(transport=transport, base_url=base_url, headers=headers))

    async def open(self, path: str, **headers: str) -> Page:
        """Go to a page, wherever it leads."""
        return Page(await self.client.get(path, headers=headers, follow_redirects=True))

    async def send(self, form: Form, **fields: str | list[str]) -> Page:
        """Send a form, and follow where it leads."""
        return Page(await self.post(form, fields, follow_redirects=True))

    async def post(
        self, form: Form, fields: dict[str, Any] | None = None, **options: Any
    ) -> httpx.Response:
        """Send a form and give the bare answer."""
        # a form without fields has its media type all the same
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        headers = kind | options.pop("headers", FROM_HERE)
        data: dict[str, Any] = form.fields | (fields or {})
        return await self.client.post(form.action, data=data, headers=headers, **options)

    async def fill(self, path: str, **fields: str | list[str]) -> Page:
        """Go to a page, fill its form and send it."""
        page = await self.open(path)
        action = path.partition("?")[0]
        return await self.send(page.forms[action], **fields)

    async def sign_in(self, email: str, password: str) -> Page:
        """Sign in."""
        return await self.fill("/account/sign-in", email=email, password=password)


def mails_in(folder: Path) -> list[EmailMessage]:
    """Give the mails of a folder, the oldest first."""
    files = sorted(folder.glob("*.eml"))
    return [message_from_bytes(file.read_bytes(), policy=default) for file in files]


def path_of_link(folder: Path, recipient: str, purpose: str) -> str:
    """Give the path of the latest link of a purpose that was mailed to somebody."""
    for message in reversed(mails_in(folder)):
        if recipient in str(message["to"]) and f"/account/{purpose}?" in link_in(message):
            return link_in(message).partition("/account/")[2].join(["/account/", ""])
    raise AssertionError(f"no {purpose} for {recipient}")
