"""A file that is written while it is sent: nothing of it piles up here."""

from collections.abc import Awaitable, Callable

from starlette.responses import StreamingResponse
from starlette.types import Send

Write = Callable[[bytes], Awaitable[object]]


class Download(StreamingResponse):
    """A file to be saved.

    It begins once a second piece is there: what fails before that, when only a byte order mark may
    have come, is an error like any other. Later the connection is broken off, so that nobody takes
    a part for the whole.

    Args:
        source: gives the file to what it is called with, piece by piece.
        name: what the file is called; plain ASCII.
        media_type: what is in it.
    """

    def __init__(
        self, source: Callable[[Write], Awaitable[object]], name: str, media_type: str
    ) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(iter(()), media_type=media_type, headers=headers)
        self._source = source

    async def stream_response(self, send: Send) -> None:
        """Send it."""
        start = {"status": self.status_code, "headers": self.raw_headers}
        pieces = 0
        held = b""

        async def write(data: bytes) -> None:
            nonlocal pieces, held
            pieces += 1
            if pieces == 2:
                await send({"type": "http.response.start", **start})
            if pieces >= 2:
                await send({"type": "http.response.body", "body": held, "more_body": True})
            held = data

        await self._source(write)
        if pieces < 2:
            await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": held, "more_body": False})
