"""A route for the one read that every request of every application makes.

FastAPI's routing, dependencies and response classes cost more than the read itself (`make bench`).
This route stands before all others, compares the path, and answers; the route of the same path
inside the router is what the OpenAPI document shows.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from denizen.errors import NotSignedInError
from denizen.http.route import HEADERS, convert

Answer = Callable[[str], Awaitable[bytes]]
_START: Final = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_START.append((b"content-type", b"application/json"))


class HotRoute(BaseRoute):
    """GET of one path for whoever carries a bearer token: `answer` makes JSON of the token."""

    def __init__(self, path: str, answer: Answer) -> None:
        self.path = path
        self._answer = answer

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
            await convert(error)(scope, receive, send)
            return
        headers = [*_START, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Leave the name to the documented route."""
        raise NoMatchFound(name, path_params)


def _bearer(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                return str(token.strip())
            break  # the first one counts, as on the other routes
    raise NotSignedInError
