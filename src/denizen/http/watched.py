"""Counting requests: outermost, so that what is refused before any route is counted, too."""

import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from denizen.tally import Tally

NO_ROUTE: Final = "none"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Watched:
    """An app whose requests are counted by method, route and status.

    What a client chose becomes no name: other methods are `other`, and where there is no route it
    is `none`.
    """

    def __init__(self, app: ASGIApp, tally: Tally) -> None:
        self._app = app
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count it when its answer is out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            one = self._tally.requests[method_of(scope), route_of(scope)]
            one.statuses[status // 100] += 1
            one.durations.add(time.perf_counter() - began)


def method_of(scope: Scope) -> str:
    """Give the method's name, if it is one that any route takes."""
    return scope["method"] if scope["method"] in _METHODS else "other"


def route_of(scope: Scope) -> str:
    """Give the template of the route that answered."""
    path: str = getattr(scope.get("route"), "path", NO_ROUTE)
    return path
