"""The route class of all our routes: bounded bodies in, typed problems out, headers on all.

It converts errors inside our own routes, so that a host application's handlers stay its own.
"""

import asyncio
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from denizen.db.errors import DataError
from denizen.errors import DenizenError, Issue
from denizen.http import problems
from denizen.http.once import Once

MAX_BODY: Final = 64 * 1024
BODY_PATIENCE: Final = 20.0
_MAX_DEPTH: Final = 32
_LONGEST_LENGTH: Final = 12  # digits of a Content-Length that is worth reading as a number
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

Add = Callable[..., None]  # what `APIRouter.add_api_route` takes


class BoundedRequest(Request):
    """A request whose body is read up to a limit and a time, and whose JSON is read strictly."""

    async def body(self) -> bytes:
        """Give the body.

        Raises:
            HTTPException: 413 above the limit, 408 when it does not arrive in time.
        """
        if not hasattr(self, "_body"):
            try:
                async with asyncio.timeout(BODY_PATIENCE):
                    self._body = await self._read()
            except TimeoutError:
                raise HTTPException(408) from None
        return self._body

    async def json(self) -> Any:
        """Give the parsed body; NaN, huge numbers, lone surrogates and bad UTF-8 are refused."""
        if not hasattr(self, "_json"):
            self._json = orjson.loads(await self.body())
        return self._json

    async def _read(self) -> bytes:
        read = bytearray()
        async for chunk in self.stream():
            read += chunk
            if len(read) > MAX_BODY:
                raise HTTPException(413)
        return bytes(read)


class Route(APIRoute):
    """A FastAPI route that answers every failure as problem+json and takes JSON alone.

    Attributes:
        allowed: the methods of all routes on this path, for `Allow`.
        once: runs requests that carry an Idempotency-Key; None where nobody is known.
    """

    allowed: frozenset[str] = frozenset()
    once: Once | None = None

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; a method that no route of this path takes is told all that some route takes."""
        if scope["method"] in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        allow = ", ".join(sorted(self.allowed or self.methods or ()))
        refused = HTTPException(405, headers={"Allow": allow})
        await dressed(problems.from_http(refused))(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handle = super().get_route_handler()
        takes_body = self.body_field is not None
        known = _query_names(self)

        async def handler(request: Request) -> Response:
            try:
                if known is not None and (unknown := request.query_params.keys() - known):
                    return dressed(_unknown(unknown))
                if takes_body and request.method in _WITH_BODY:
                    request = BoundedRequest(request.scope, request.receive)
                    if (refused := await _refuse(request)) is not None:
                        return dressed(refused)
                once = self.once
                response = await (once.run(request, handle) if once else handle(request))
            except Exception as error:  # noqa: BLE001  # the last resort of our routes
                response = convert(error)
            return dressed(response)

        return handler


class Routes:
    """Adds routes of ours to a router, which may be a host's.

    To the router itself: routes of a router inside it are made twice, and matched twice at every
    request.

    Args:
        router: of the app.
        prefix: before all paths.
        kind: the class of the routes.
    """

    def __init__(self, router: APIRouter, prefix: str = "", kind: type[Route] = Route) -> None:
        self._router = router
        self._prefix = prefix
        self._kind = kind

    def under(self, prefix: str, tag: str) -> Add:
        """Give `add_api_route` for paths under a prefix."""

        def add(path: str, endpoint: Callable[..., Any], **options: Any) -> None:
            self._router.add_api_route(
                f"{self._prefix}{prefix}{path}",
                endpoint,
                tags=[tag],
                route_class_override=self._kind,
                **options,
            )

        return add

    def share_methods(self) -> None:
        """Tell routes of one path about each other's methods."""
        methods: dict[str, set[str]] = {}
        routes = [route for route in self._router.routes if isinstance(route, Route)]
        for route in routes:
            methods.setdefault(route.path, set()).update(route.methods or ())
        for route in routes:
            route.allowed = frozenset(methods[route.path])


def _query_names(route: APIRoute) -> frozenset[str] | None:
    """Give the query parameters that a route knows; None where a model of its own checks them."""
    fields = route.dependant.query_params
    if any(_is_model(field.field_info.annotation) for field in fields):
        return None
    return frozenset(field.alias for field in fields)


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _unknown(names: set[str]) -> Response:
    message = "There is no such parameter."
    issues = [Issue(name, "extra_forbidden", message) for name in sorted(names)]
    return problems.invalid(*issues[: problems.MAX_ISSUES])


def dressed(response: Response) -> Response:
    """Give the answer with the headers that all of ours carry."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def convert(error: Exception) -> Response:
    """Give the answer for whatever a route of ours raised."""
    return dressed(_converted(error))


def _converted(error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        return problems.from_validation(error)
    if isinstance(error, ClientDisconnect):  # nobody reads it
        return problems.from_http(HTTPException(400))
    if isinstance(error, HTTPException):
        return problems.from_http(error)
    if isinstance(error, DenizenError | DataError):
        return problems.from_error(error) or problems.from_defect(error)
    return problems.from_defect(error)


async def _refuse(request: BoundedRequest) -> Response | None:
    """Read the body before anything else looks at it; give the answer when it is no JSON."""
    refuse_length(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return problems.from_http(HTTPException(415))
    try:
        value = await request.json()
    except orjson.JSONDecodeError:
        return problems.invalid(Issue("body", "json_invalid", "The body is not valid JSON."))
    if _depth(value) > _MAX_DEPTH:
        return problems.invalid(Issue("body", "too_deep", "The body is nested too deeply."))
    return None


def refuse_length(request: Request) -> None:
    """Refuse a body by the length that is declared for it, before it is read.

    Raises:
        HTTPException: 413 above the limit, 400 when the length is no number.
    """
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        raise HTTPException(400)
    if len(length) > _LONGEST_LENGTH or int(length) > MAX_BODY:
        raise HTTPException(413)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _MAX_DEPTH:
        depth += 1
        inner: list[Any] = []
        for item in level:
            if isinstance(item, MutableMapping):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = inner
    return depth
