"""What all pages share: sessions by cookie, roles, forms, errors as pages, headers."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from denizen.audit.model import Actor
from denizen.db.direct import Row
from denizen.db.errors import DataError, UnavailableError
from denizen.db.unit import Db
from denizen.errors import (
    DenizenError,
    NotAllowedError,
    NotSignedInError,
    OverloadedError,
    ThrottledError,
)
from denizen.http.client import client_address
from denizen.http.gate import log_refusal
from denizen.http.language import language_of
from denizen.http.problems import log_defect, problem_of
from denizen.http.route import convert
from denizen.idempotency.model import open_principal
from denizen.pages import cookies, forms
from denizen.pages.complaints import about_all, about_field, field_issues
from denizen.pages.repeats import Left, Repeats
from denizen.pages.service import Service
from denizen.pages.templates import Templates, all_assets
from denizen.pages.uploads import Uploads, receiving
from denizen.pages.visit import Visit
from denizen.pages.words import all_words
from denizen.users.values import LOCALES, Locale, Role

CSP: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none at all, browsers hide the origin of forms, too
}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
Answer = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page, as `Site.add` takes it."""

    show: Answer | None
    act: Answer | None
    roles: Collection[Role] | None = None
    within: timedelta | None = None
    acts_once: bool = True
    uploads: Uploads | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Site:
    """The pages of one service; `routes` is what the app serves.

    Args:
        service: the scenarios and settings.
        facts: what templates may use besides.
    """

    def __init__(self, service: Service, **facts: Any) -> None:
        self.service = service
        self.settings = settings = service.settings
        self.words = all_words()
        self.routes: list[BaseRoute] = []
        self._clock = service.parts.clock
        self._repeats = Repeats(service.parts)
        seen = urlsplit(settings.service_url)
        self._public = f"{seen.scheme}://{seen.netloc}"
        assets = all_assets()
        facts |= {"settings": settings, "service": settings.sender.name or "Denizen"}
        facts |= {"assets": {name: asset.url for name, asset in assets.items()}}
        facts |= {"languages": self.words}
        self._templates = Templates(self.words, facts)
        for name, asset in assets.items():
            self.routes.append(_PageRoute(f"/assets/{name}", _serving(asset.response())))

    def add(
        self,
        path: str,
        show: Answer | None,
        act: Answer | None = None,
        *,
        roles: Collection[Role] | None = None,
        within: timedelta | None = None,
        acts_once: bool = True,
        uploads: Uploads | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Add a page.

        Args:
            path: its path; `{name}` takes a part of it, found in `visit.request.path_params`.
            show: answers GET, and shows the form again when `act` raises; changes nothing.
            act: answers POST, called with the form read and its sender checked; leaves with 303.
            roles: who may see it; None: everybody, signed in or not.
            within: how long ago the sign-in may be; whoever comes later signs in again.
            acts_once: whether a form that comes twice acts once; not where the answer sets cookies.
            uploads: where the form's file goes, where it has one.
            headers: beside those of all pages, or in their place.
        """
        page = Page(show, act, roles, within, acts_once, uploads, headers or {})
        methods = (["GET", "HEAD"] if show else []) + (["POST"] if act else [])

        async def endpoint(request: Request) -> Response:
            return await self._serve(request, page)

        self.routes.append(_PageRoute(path, endpoint, methods=methods, include_in_schema=False))

    def is_keeping_cookies(self, request: Request) -> bool:
        """Whether a browser keeps our cookies here: over HTTPS, and on its own machine.

        There alone browsers send `Sec-Fetch-Site`; those that don't know it are judged by the host.
        """
        host = urlsplit(f"//{request.headers.get('host', '')}")
        is_seen_here = host.netloc == urlsplit(self._public).netloc
        return (
            "sec-fetch-site" in request.headers
            or request.scope["scheme"] == "https"
            or (is_seen_here and self._public.startswith("https:"))
            or host.hostname in _LOOPBACK
        )

    async def let_in_again(self, visit: Visit, roles: Collection[Role] | None) -> None:
        """Ask once more who is behind a visit that takes its time.

        Raises:
            NotSignedInError: they are signed out by now, or disabled.
            NotAllowedError: they have none of these roles by now.
        """
        visit.user = await self._row_of(visit.request)
        _require_role(visit, roles)

    async def missing(self, request: Request, error: Exception) -> Response:
        """Answer where there is no route: with a page to browsers, and else with a problem."""
        takes_pages = "text/html" in request.headers.get("accept", "")
        if not takes_pages or request.scope["path"].startswith("/v1/"):
            return convert(error)

        async def show(_visit: Visit) -> Response:
            raise error

        return await self._serve(request, Page(show, None))

    async def _serve(self, request: Request, page: Page) -> Response:
        visit = self._visit(request, page, None)
        try:
            visit = self._visit(request, page, await self._row_of(request))
            _require_role(visit, page.roles)
            if page.within is not None and visit.signed_in_at < visit.now - page.within:
                return visit.finish(visit.lead_to_sign_in(again=True))
            if request.method == "POST" and page.act is not None:
                response = await self._act(visit, page)
            else:
                response = await (page.show or _nothing)(visit)
        except NotSignedInError:
            response = visit.lead_to_sign_in()
        except Exception as error:  # noqa: BLE001  # the last resort of all pages
            response = _refused(visit, error)
        for name, value in (_HEADERS | page.headers).items():
            response.headers.setdefault(name, value)
        return visit.finish(response)

    async def _row_of(self, request: Request) -> Row | None:
        """Give who is behind the request's cookie."""
        token = request.cookies.get(cookies.SESSION)
        if not token:
            return None
        try:
            return await self.service.sessions.require_row(token)
        except NotSignedInError:
            return None

    def _visit(self, request: Request, page: Page, row: Row | None) -> Visit:
        address = client_address(request.scope, self.settings.trusted_proxies)
        actor = Actor("anonymous", None, address, request.headers.get("user-agent"))
        return Visit(
            request,
            row,
            actor if row is None else replace(actor, kind="user", id=row["id"]),
            is_shown=page.show is not None,
            words=self.words[_language(request, row)],
            templates=self._templates,
            now=self._clock.now(),
        )

    async def _act(self, visit: Visit, page: Page) -> Response:
        request = visit.request
        forms.require_own_origin(request, self._public)
        if page.uploads is not None:
            async with receiving(request, page.uploads, visit.cookie) as (form, file):
                visit.form, visit.file = form, file
                await self.let_in_again(visit, page.roles)  # it may have taken hours
                return await self._try(visit, page)
        visit.form = await forms.read_form(request)
        forms.require_token(visit.cookie, visit.form.get(forms.TOKEN, ""))
        return await self._try(visit, page)

    async def _try(self, visit: Visit, page: Page) -> Response:
        """Act, or show the form again with what is wrong with it."""
        try:
            return await self._acted(visit, page)
        except (NotSignedInError, NotAllowedError, HTTPException):
            raise
        except (DenizenError, DataError) as error:
            return await self._complain(visit, page, error)

    async def _acted(self, visit: Visit, page: Page) -> Response:
        act = page.act or _nothing
        if not page.acts_once:
            return await act(visit)
        answers: list[Response] = []

        async def once(db: Db) -> Left:
            visit.db = db
            answers.append(await act(visit))
            headers = answers[-1].headers
            again = visit.gettext("This was done already: the form was sent twice.")
            if "location" not in headers:  # a page that is shown once, and kept nowhere
                return Left(visit.path, again)
            return Left(headers["location"], visit.flash)

        # whoever is signed in: an open form may name anybody
        whose = visit.me["id"] if page.roles else open_principal(_digest(visit.cookie))
        before = await self._repeats.run(whose, forms.digest(visit.path, visit.form), once)
        if before is None:
            return answers[-1]
        said, _, undo = before.said.partition("\n")
        return visit.leave(before.path, say=said, undo=undo)

    async def _complain(self, visit: Visit, page: Page, error: Exception) -> Response:
        """Show the form again, with what was typed and what is wrong with it."""
        if page.show is None or isinstance(error, UnavailableError):
            raise error
        visit.error = error
        issues = field_issues(error)
        minimum = self.settings.password_min
        visit.issues = {i.field: about_field(visit.words, i, minimum=minimum) for i in issues}
        visit.problem = None if issues else about_all(visit.words, error)
        response = await page.show(visit)
        problem = problem_of(error)
        response.status_code = problem.status if problem else 500
        return _with_retry(response, error)


class _PageRoute(Route):
    """A route that tells its name, and its methods in one order."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        if scope["method"] not in (self.methods or ()):
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self.methods or ()))})
        await super().handle(scope, receive, send)


def _require_role(visit: Visit, roles: Collection[Role] | None) -> None:
    if roles is not None and visit.me["role"] not in roles:
        raise NotAllowedError


async def _nothing(visit: Visit) -> Response:
    del visit
    raise HTTPException(404)


def _serving(response: Response) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_request: Request) -> Response:
        return response

    return endpoint


def _language(request: Request, row: Row | None) -> Locale:
    """Give the language: the account's, the one chosen here before, or what the browser prefers."""
    chosen = row["locale"] if row else request.cookies.get(cookies.LANGUAGE)
    for locale in LOCALES:
        if locale == chosen:
            return locale
    return language_of(request.headers.get("accept-language", ""))


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _refused(visit: Visit, error: Exception) -> Response:
    """Answer an error with a page of its own."""
    incident = ""
    if isinstance(error, NotAllowedError | forms.FormRefusedError):
        log_refusal(visit.request, visit.actor)
    if isinstance(error, forms.FormRefusedError):
        return visit.page("refused.html", status=403, reason=error.reason)
    if isinstance(error, ClientDisconnect):  # nobody reads it
        error = HTTPException(400)
    problem = problem_of(error)
    status = error.status_code if isinstance(error, HTTPException) else 500
    if problem is not None:
        status = problem.status
    elif not isinstance(error, HTTPException):
        incident = log_defect(error)
    text = about_all(visit.words, error)
    response = visit.page("error.html", status=status, error=status, text=text, incident=incident)
    if isinstance(error, HTTPException):
        response.headers.update(error.headers or {})
    return _with_retry(response, error)


def _with_retry(response: Response, error: Exception) -> Response:
    problem = problem_of(error)
    if problem is not None:
        response.headers.update(problem.headers or {})
    if isinstance(error, OverloadedError | ThrottledError):
        response.headers["Retry-After"] = str(error.retry_after)
    return response
