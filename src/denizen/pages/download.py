"""A file that is written while it is sent: nothing of it piles up here."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

Write = Callable[[bytes], Awaitable[object]]
PATIENCE: Final = 30.0  # seconds that a client may take for a piece
# how much is sent, and how long, until it is asked again whether it may be
_UNASKED: Final = 8 * 2**20  # bytes
_UNASKED_TIME: Final = 10.0  # seconds


class Download(StreamingResponse):
    """A file to be saved.

    It begins once a second piece is there: what fails before that, when only a byte order mark may
    have come, is an error like any other. Later the connection is broken off, so that nobody takes
    a part for the whole: also when a client takes nothing for half a minute, for the source holds
    a connection of the database meanwhile.

    Args:
        source: gives the file to what it is called with, piece by piece.
        name: what the file is called; plain ASCII.
        media_type: what is in it.
        let_in_again: raises when whoever asked may have it no longer; called now and then.
    """

    def __init__(
        self,
        source: Callable[[Write], Awaitable[object]],
        name: str,
        media_type: str,
        *,
        let_in_again: Callable[[], Awaitable[object]],
    ) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(iter(()), media_type=media_type, headers=headers)
        self._source = source
        self._let_in_again = let_in_again

    async def stream_response(self, send: Send) -> None:
        """Send it.

        Raises:
            ClientDisconnect: the client is gone, or as good as gone.
        """
        sending = _Sending(send, {"status": self.status_code, "headers": self.raw_headers})
        unasked, asked_at = 0, time.monotonic()

        async def write(data: bytes) -> None:
            nonlocal unasked, asked_at
            await sending.add(data)
            unasked += len(data)
            if unasked >= _UNASKED or time.monotonic() - asked_at >= _UNASKED_TIME:
                await self._let_in_again()
                unasked, asked_at = 0, time.monotonic()

        await self._source(write)
        await sending.end()


class _Sending:
    """The answer on its way, one piece behind."""

    def __init__(self, send: Send, start: Mapping[str, Any]) -> None:
        self._send = send
        self._start = start
        self._pieces = 0
        self._held = b""

    async def add(self, data: bytes) -> None:
        self._pieces += 1
        if self._pieces == 2:
            await self._give({"type": "http.response.start", **self._start})
        if self._pieces >= 2:
            await self._give({"type": "http.response.body", "body": self._held, "more_body": True})
        self._held = data

    async def end(self) -> None:
        if self._pieces < 2:
            await self._give({"type": "http.response.start", **self._start})
        await self._give({"type": "http.response.body", "body": self._held, "more_body": False})

    async def _give(self, message: Message) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._send(message)
        except TimeoutError:
            raise ClientDisconnect from None
