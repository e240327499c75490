"""Requests that two readers could read in two ways are refused before anything looks at them.

The server has parsed them already and closes the connection where it can't; this is what it lets
pass (RFC 9112 3.2, 6.1). A host application decides that for itself.
"""

import re
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from denizen.http.problems import from_http

# what names and addresses of hosts are made of; RFC 3986 3.2.2 has more that no host is called
_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{0,5})?")
_SINGLE: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"content-type"})


class Unambiguous:
    """An app that gets only requests with one host, one length and one type."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400 and have the connection closed."""
        app = self._app
        if scope["type"] == "http" and not has_one_meaning(scope):
            app = from_http(HTTPException(400, headers={"Connection": "close"}))
        await app(scope, receive, send)


def has_one_meaning(scope: Scope) -> bool:
    """Whether there is one host, at most one length and type, and one way to tell the body's end.

    Every request passes here, so it is one walk over its headers.
    """
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _SINGLE:
            if name in found:
                return False
            found[name] = value
    host, coding = found.get(b"host"), found.get(b"transfer-encoding")
    # a watcher may speak HTTP/1.0, which has none; granian says that by an empty one
    is_host = _HOST.fullmatch(host) if host else scope.get("http_version") != "1.1"
    is_framed = coding is None or (coding.lower() == b"chunked" and b"content-length" not in found)
    return bool(is_host) and is_framed
