"""The outermost layer of the service of its own: what every request must be, every answer carry.

A host application decides both for itself; there our routes bring their own headers (`route`).
"""

import re
from collections import Counter
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from denizen.http.problems import from_http
from denizen.http.route import HEADERS

HSTS: Final = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}  # ASVS 3.4.1
# what names and addresses of hosts are made of; RFC 3986 3.2.2 has more that no host is called
_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{0,5})?")
_SINGLE: Final = (b"host", b"content-length", b"transfer-encoding", b"content-type")


class Edge:
    """Refuses what two readers could read in two ways, and puts the headers on all answers.

    Args:
        app: what is inside.
        is_https: whether the service is seen by https, and says that it always will be.
    """

    def __init__(self, app: ASGIApp, *, is_https: bool) -> None:
        self._app = app
        headers = HEADERS | HSTS if is_https else HEADERS
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def dressing(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                names = {name for name, _ in own}
                own.extend(header for header in self._headers if header[0] not in names)
                message = {**message, "headers": own}
            await send(message)

        if _is_ambiguous(scope):
            refused = from_http(HTTPException(400, headers={"Connection": "close"}))
            await refused(scope, receive, dressing)
            return
        await self._app(scope, receive, dressing)


def _is_ambiguous(scope: Scope) -> bool:
    """Whether the request has no one host, no one length or no one type (RFC 9112 3.2, 6.1)."""
    found: dict[bytes, Any] = dict(scope["headers"])
    counted = Counter(name for name, _ in scope["headers"] if name in _SINGLE)
    host, coding = found.get(b"host"), found.get(b"transfer-encoding")
    is_host = scope.get("http_version") != "1.1" if host is None else bool(_HOST.fullmatch(host))
    is_framed = coding is None or (coding.lower() == b"chunked" and b"content-length" not in found)
    return not (is_host and is_framed) or any(count > 1 for count in counted.values())
