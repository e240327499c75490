"""The folder of mails as a page, under `denizen serve --dev` alone.

Mails hold links that open accounts, so the pages are for the person at this machine: asked for by
any other name, or through a proxy, they are not there.
"""

import asyncio
import email
import re
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Final, cast

from markupsafe import Markup, escape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from denizen.pages.site import CSP, Site
from denizen.pages.visit import Visit

SHOWN: Final = 100
_FORWARDING: Final = ("x-forwarded-", "forwarded", "x-real-ip", "via")
_NAME: Final = re.compile(r"[0-9A-Za-z.-]+")
_LINK: Final = re.compile(r"https?://[^\s<>\"]+")
_FRAMED: Final = {"Content-Security-Policy": f"{CSP}; frame-src 'self'"}
# what a mail program shows: its own styles, no script, nothing from elsewhere
_MAIL: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; "
        "sandbox allow-top-navigation-by-user-activation"
    )
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail of the folder."""

    name: str
    message: EmailMessage

    @property
    def at(self) -> datetime:
        """When it was asked for."""
        return cast("datetime", self.message["date"].datetime)

    def part(self, kind: str) -> str:
        """Give its text in that form, `plain` or `html`."""
        body = self.message.get_body((kind,))
        return "" if body is None else str(body.get_content())

    @property
    def lines(self) -> Markup:
        """The plain text with its links to be clicked."""
        return Markup("\n").join(_linked(line) for line in self.part("plain").splitlines())


class MailPages:
    """The list of mails and each of them, in text and as a mail program shows it."""

    def __init__(self, site: Site) -> None:
        self._folder = site.settings.mail_folder
        site.add("/dev/mail", _at_this_machine(self.show))
        site.add("/dev/mail/{name}", _at_this_machine(self.show_one), headers=_FRAMED)
        site.add("/dev/mail/{name}/html", _at_this_machine(self.show_html), headers=_MAIL)

    async def show(self, visit: Visit) -> Response:
        """List the mails, the newest first."""
        letters = await asyncio.to_thread(self._latest)
        return visit.page("dev/mails.html", letters=letters, folder=self._folder)

    async def show_one(self, visit: Visit) -> Response:
        """Show a mail."""
        return visit.page("dev/mail.html", letter=await self._letter(visit))

    async def show_html(self, visit: Visit) -> Response:
        """Show its HTML part, for a frame; its links lead out of it."""
        letter = await self._letter(visit)
        text = letter.part("html").replace("<head>", '<head><base target="_top">', 1)
        return HTMLResponse(text)

    async def _letter(self, visit: Visit) -> Letter:
        name = visit.request.path_params["name"]
        if not _NAME.fullmatch(name):
            raise HTTPException(404)
        try:
            return await asyncio.to_thread(_read, self._folder / f"{name}.eml")
        except OSError:
            raise HTTPException(404) from None

    def _latest(self) -> list[Letter]:
        found = sorted(self._folder.glob("[!.]*.eml"), reverse=True)  # names sort by time
        return [_read(path) for path in found[:SHOWN]]


def is_at_this_machine(request: Request) -> bool:
    """Whether it came straight from a browser that knows this service by a name of loopback."""
    if any(name.startswith(_FORWARDING) for name in request.headers):
        return False
    host = urllib.parse.urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _at_this_machine(
    answer: Callable[[Visit], Awaitable[Response]],
) -> Callable[[Visit], Awaitable[Response]]:
    async def show(visit: Visit) -> Response:
        if not is_at_this_machine(visit.request):
            raise HTTPException(404)
        return await answer(visit)

    return show


def _read(path: Path) -> Letter:
    message = email.message_from_bytes(path.read_bytes(), policy=default)
    return Letter(path.stem, message)


def _linked(line: str) -> Markup:
    if _LINK.fullmatch(line):  # each stands on a line of its own
        return Markup('<a href="{0}">{0}</a>').format(line)
    return escape(line)
