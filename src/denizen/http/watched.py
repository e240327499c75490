"""Counting and naming requests: outermost, so that what is refused before any route is seen, too.

Each has an id: the client's, when it is one, or one of ours. It stands in the answer's
`X-Request-Id` and in the log.
"""

import re
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from denizen.logs import RequestLog
from denizen.tally import Tally

NO_ROUTE: Final = "none"
REQUEST_ID: Final = b"x-request-id"
# too short for a token of ours, and no room for an address
_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,40}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Watched:
    """An app whose requests are counted by method, route and status, and told one by one.

    What a client chose becomes no name: other methods are `other`, and where there is no route it
    is `none`.

    Args:
        app: what answers.
        tally: counts.
        log: told each request, when its answer is out.
    """

    def __init__(self, app: ASGIApp, tally: Tally, log: RequestLog | None = None) -> None:
        self._app = app
        self._tally = tally
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count it when its answer is out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        request_id = _id_of(scope)

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = [*message["headers"], (REQUEST_ID, request_id)]
                message = {**message, "headers": named}
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            method, route = method_of(scope), route_of(scope)
            took = time.perf_counter() - began
            one = self._tally.requests[method, route]
            one.statuses[status // 100] += 1
            one.durations.add(took)
            if self._log is not None:
                self._log(request_id.decode(), method, route, status, took)


def _id_of(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == REQUEST_ID and _SANE.fullmatch(value):
            found: bytes = value
            return found
    return uuid7().hex.encode()


def method_of(scope: Scope) -> str:
    """Give the method's name, if it is one that any route takes."""
    return scope["method"] if scope["method"] in _METHODS else "other"


def route_of(scope: Scope) -> str:
    """Give the template of the route that answered."""
    path: str = getattr(scope.get("route"), "path", NO_ROUTE)
    return path
