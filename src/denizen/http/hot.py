"""A route for the one read that every request of every application makes.

FastAPI's routing, dependencies and response classes cost more than the read itself (`make bench`).
This route stands before all others, compares the path, and answers; the route of the same path
inside the router is what the OpenAPI document shows. In the service itself it stands even before
the middleware, of which it does the part that is its own.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import FastAPI
from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

from denizen.errors import NotSignedInError
from denizen.http.route import HEADERS, convert
from denizen.http.unambiguous import has_one_meaning

Answer = Callable[[str], Awaitable[bytes]]
_TYPE: Final = (b"content-type", b"application/json")


class HotRoute(BaseRoute):
    """GET of one path for whoever carries a bearer token: `answer` makes JSON of the token."""

    def __init__(self, path: str, answer: Answer) -> None:
        self.path = path
        self._answer = answer
        self._headers: Mapping[str, str] = HEADERS
        self._start = _raw(HEADERS)

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Have every answer carry these, too."""
        self._headers = {**self._headers, **headers}
        self._start = _raw(self._headers)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the exact path, and GET alone."""
        is_mine = (
            scope["type"] == "http"
            and scope["method"] == "GET"
            and scope["path"] == scope.get("root_path", "") + self.path
            and not scope["query_string"]  # the other route refuses what is in it
        )
        return (Match.FULL, {"route": self}) if is_mine else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; every failure is a problem, as on the other routes."""
        try:
            body = await self._answer(_bearer(scope))
        except Exception as error:  # noqa: BLE001  # the last resort, as in `Route`
            response = convert(error)
            response.headers.update(self._headers)
            await response(scope, receive, send)
            return
        headers = [*self._start, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Leave the name to the documented route."""
        raise NoMatchFound(name, path_params)


class Service(FastAPI):
    """The service's app, in which one route is asked before everything else."""

    hot: HotRoute | None = None
    _first: ASGIApp

    def put_first(self, headers: Mapping[str, str], watched: Callable[[ASGIApp], ASGIApp]) -> None:
        """Ask the hot route before the middleware; its answers carry these headers.

        Args:
            headers: of all answers.
            watched: puts around it what counts requests, of which it is one.
        """
        self.hot = next(route for route in self.router.routes if isinstance(route, HotRoute))
        self.hot.add_headers(headers)
        self._first = watched(self.hot.handle)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is for the hot route; everything else goes the long way."""
        hot = self.hot
        if hot is not None and hot.matches(scope)[0] is Match.FULL and has_one_meaning(scope):
            scope["route"] = hot
            await self._first(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [*((name.lower().encode(), value.encode()) for name, value in headers.items()), _TYPE]


def _bearer(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                return str(token.strip())
            break  # the first one counts, as on the other routes
    raise NotSignedInError
