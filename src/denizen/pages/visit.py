"""One request for a page: who asks, in which language, what the form says; and what is answered."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from denizen.audit.model import Actor
from denizen.db.direct import Row
from denizen.db.unit import Db
from denizen.errors import InvalidError, Issue, NotSignedInError
from denizen.pages import cookies
from denizen.pages.complaints import MISSING
from denizen.pages.forms import NO_FORM, Form, new_token
from denizen.pages.templates import Templates
from denizen.pages.uploads import Uploaded
from denizen.pages.words import Words, zone_of
from denizen.secret import new_secret
from denizen.sessions.model import SESSION_LIFE

HOME: Final = "/account"
CONSOLE: Final = "/console"
Parse = Callable[[str], str]


class Visit:
    """A request and its answer in the making.

    Args:
        request: the request.
        user: who is signed in, as the row of "who am I".
        actor: who acts, for the audit.
        is_shown: whether there is a page at the path, and not just an act.
        words: the language.
        templates: where pages come from.
        now: the time.

    Attributes:
        form: what was sent.
        file: the file that was sent, where the form has one and one was chosen.
        db: the unit that an act runs in, for the scenario to join.
        issues: the sentence at each field of the form that breaks a rule.
        problem: the sentence about the form as a whole.
    """

    def __init__(
        self,
        request: Request,
        user: Row | None,
        actor: Actor,
        *,
        is_shown: bool,
        words: Words,
        templates: Templates,
        now: datetime,
    ) -> None:
        self.request = request
        self.user = user
        self.actor = actor
        self.words = words
        self.now = now
        self.form: Form = NO_FORM
        self.file: Uploaded | None = None
        self.db: Db | None = None
        self.issues: Mapping[str, str] = {}
        self.problem: str | None = None
        self.said = cookies.from_value(request.cookies.get(cookies.FLASH, ""))
        self._is_shown = is_shown
        self._templates = templates
        self._set: list[tuple[str, str, timedelta | None]] = []
        self._token: str | None = None

    @property
    def me(self) -> Row:
        """Who is signed in.

        Raises:
            NotSignedInError: nobody is.
        """
        if self.user is None:
            raise NotSignedInError
        return self.user

    @property
    def signed_in_at(self) -> datetime:
        """When the session began."""
        at: datetime = self.me["session_expires_at"] - SESSION_LIFE
        return at

    @property
    def path(self) -> str:
        """The path that was asked for, percent-encoded again."""
        return quote(self.request.scope["path"])

    @property
    def address(self) -> str:
        """The path with its query, to come back to."""
        query = self.request.scope["query_string"].decode("latin-1")
        return f"{self.path}?{query}" if query else self.path

    @property
    def place(self) -> str:
        """Where to come back to: the page itself, or my account where the path only acts."""
        if not self._is_shown:
            return HOME
        return self.path if self.request.method == "POST" else self.address

    @property
    def zone(self) -> tzinfo:
        """The time zone of the browser, where its script has told; else UTC."""
        return zone_of(self.request.cookies.get(cookies.ZONE, ""))

    @property
    def cookie(self) -> str:
        """What forms of this browser are bound to: its session, or else a cookie just for that."""
        told = self.request.cookies
        return told.get(cookies.SESSION) or told.get(cookies.GUARD) or ""

    def gettext(self, message: str) -> str:
        """Give a sentence in the visit's language."""
        return self.words.gettext(message)

    def ngettext(self, one: str, many: str, count: int) -> str:
        """Give a sentence about a number of things."""
        return self.words.ngettext(one, many, count) % {"num": count}

    def query(self, name: str) -> str:
        """Give a value of the address's query; an empty text without one."""
        return self.request.query_params.get(name, "")

    def read(self, **fields: Parse) -> dict[str, str]:
        """Give the fields of the form, each through its parser, or complain of all that are wrong.

        Raises:
            InvalidError: some are empty, or refused by their parser.
        """
        found: dict[str, str] = {}
        issues: list[Issue] = []
        for name, parse in fields.items():
            try:
                found[name] = parse(_filled(name, self.form.get(name, "")))
            except InvalidError as error:
                issues += (Issue(name, issue.code, issue.message) for issue in error.issues)
        if issues:
            raise InvalidError(*issues)
        return found

    def value(self, name: str, default: str = "") -> str:
        """Give what a field shows: what was typed, or else the default."""
        return self.form.get(name, default)

    def is_chosen(self, name: str, value: str, *, default: bool = False) -> bool:
        """Whether a box or an option is ticked: as it was sent, or else by default."""
        return value in self.form.getlist(name) if self.form else default

    def token(self) -> str:
        """Give the token of this page's forms."""
        if self._token is None:
            cookie = self.cookie
            if not cookie:
                cookie = new_secret().hex()
                self.put(cookies.GUARD, cookie)
            self._token = new_token(cookie)
        return self._token

    def put(self, name: str, value: str, life: timedelta | None = None) -> None:
        """Set a cookie with the answer; "" removes it."""
        self._set.append((name, value, life))

    def page(self, template: str, *, status: int = 200, **facts: Any) -> Response:
        """Answer with a page; a sentence that waited for the next page is shown on it."""
        if self.said:
            self.put(cookies.FLASH, "")
        text = self._templates.render(self.words.locale, template, visit=self, **facts)
        return HTMLResponse(text, status)

    def leave(self, path: str, *, say: str = "") -> Response:
        """Lead on to another page, which shows what is said; a path of ours, never a caller's."""
        if say:
            self.said = say
            self.put(cookies.FLASH, cookies.to_value(say))
        return RedirectResponse(path, 303)

    def lead_to_sign_in(self, *, again: bool = False) -> Response:
        """Lead to the sign-in page, and from there back; also somebody who is signed in."""
        query = {} if self.place == HOME else {"next": self.place}
        query |= {"again": "yes"} if again else {}
        return self.leave(f"/account/sign-in{'?' if query else ''}{urlencode(query)}")

    def finish(self, response: Response) -> Response:
        """Give the answer with its cookies."""
        for name, value, life in self._set:
            cookies.put(response, name, value, life)
        return response


def local_path(text: str, default: str = HOME) -> str:
    """Give a path of this service that a caller named; the default for anything else (T-RED-1).

    Browsers read a backslash as a slash and leave out tabs and line breaks: none may occur.
    """
    is_plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if is_plain and text.startswith("/") and not text.startswith("//") else default


def _filled(name: str, text: str) -> str:
    if not text.strip():
        raise InvalidError(Issue(name, MISSING, ""))
    return text
