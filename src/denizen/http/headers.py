"""Security headers on whatever the service answers, also where no route of ours has a say."""

from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# ASVS 3.4.1; from the first visit on browsers come by HTTPS alone
HSTS: Final = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}


class WithHeaders:
    """An app whose answers all carry these headers, unless they have their own."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = [(n.lower().encode(), v.encode()) for n, v in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and put the headers into its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                missing = [one for one in self._headers if one[0] not in there]
                message = {**message, "headers": [*message["headers"], *missing]}
            await send(message)

        await self._app(scope, receive, send_dressed)
