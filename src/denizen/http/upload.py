"""Uploads: the one file of a multipart/form-data body goes to the disk while it arrives.

The parser is python-multipart's; here stand the limits. Nothing of the client's choosing becomes a
path: the file's name is only told.
"""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

Admit = Callable[[Mapping[str, list[str]]], None]
FILE_FIELD: Final = "file"
_PATIENCE: Final = 20.0  # seconds for the next piece
_BUFFER: Final = 1024 * 1024  # octets at a time to the disk
_MOST_FIELDS: Final = 100
_LONGEST_FIELDS: Final = 64 * 1024  # octets, all of them together
_OVERHEAD: Final = 256 * 1024  # of a body beside its file


@dataclass(slots=True)
class Upload:
    """What came with a file: its name as the client has it, and the other fields by name."""

    name: str = ""
    has_file: bool = False
    fields: dict[str, list[str]] = field(default_factory=dict)


async def receive_upload(
    request: Request, path: Path, *, limit: int, admit: Admit = lambda _: None
) -> Upload:
    """Write the body's file to `path` and give what came with it.

    Args:
        request: whose body.
        path: an empty file.
        limit: octets that the file may have.
        admit: called with the fields that came before the file, when that begins; what it raises
            ends the upload.

    Raises:
        HTTPException: 413 as soon as it is too large, 415 for another kind of body, 400 for a
            malformed one, 408 when nothing arrives any more, 507 when the disk is full.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise HTTPException(415)
    form = _Form(boundary, limit, admit)
    with refusing_when_full(), path.open("wb") as stream:  # the writing is done in threads
        async for piece in _pieces(request, limit + _OVERHEAD):
            form.take(piece)
            if len(form.waiting) >= _BUFFER:
                await _write(stream, form.pour())
        await _write(stream, form.pour())
    if not form.is_whole:
        raise HTTPException(400)
    return form.upload


class _Form:
    """Follows the parser through the parts of one body."""

    def __init__(self, boundary: bytes, limit: int, admit: Admit) -> None:
        self.upload = Upload()
        self._admit = admit
        self.waiting = bytearray()
        self.is_whole = False
        self._limit = limit
        self._octets = self._count = self._length = 0
        self._header = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._value = bytearray()
        self._name = ""
        self._text: bytearray | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_header,
                    "on_header_value": self._on_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open,
                    "on_part_data": self._on_data,
                    "on_part_end": self._close,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise HTTPException(400) from None

    def take(self, piece: bytes) -> None:
        """Parse what arrived."""
        try:
            self._parser.write(piece)
        except FormParserError:
            raise HTTPException(400) from None

    def pour(self) -> bytes:
        """Give what of the file is to be written, and forget it."""
        data = bytes(self.waiting)
        self.waiting.clear()
        return data

    def _begin(self) -> None:
        self._count += 1
        if self._count > _MOST_FIELDS:
            raise HTTPException(413)
        self._headers.clear()

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._text = None if self._name == FILE_FIELD else bytearray()
        if self._text is None:
            if self.upload.has_file:
                raise HTTPException(400)
            self._admit(self.upload.fields)
            self.upload.has_file = True
            self.upload.name = options.get(b"filename", b"").decode("utf-8", "replace")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._text is None:
            self._octets += end - start
            if self._octets > self._limit:
                raise HTTPException(413)
            self.waiting += data[start:end]
            return
        self._length += end - start
        if self._length > _LONGEST_FIELDS:
            raise HTTPException(413)
        self._text += data[start:end]

    def _close(self) -> None:
        if self._text is not None:
            values = self.upload.fields.setdefault(self._name, [])
            values.append(self._text.decode("utf-8", "replace"))

    def _end(self) -> None:
        self.is_whole = True


async def _pieces(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Give the body as it arrives, up to a limit."""
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdecimal() and int(length[:20]) > limit:
        raise HTTPException(413)
    stream = request.stream()
    arrived = 0
    while True:
        try:
            async with asyncio.timeout(_PATIENCE):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408) from None
        except ClientDisconnect:
            raise HTTPException(400) from None
        arrived += len(piece)
        if arrived > limit:
            raise HTTPException(413)
        yield piece


async def _write(stream: IO[bytes], data: bytes) -> None:
    await asyncio.to_thread(stream.write, data)


@contextlib.contextmanager
def refusing_when_full() -> Iterator[None]:
    """Answer 507 when the disk is full; a small file is told so when it is closed, or synced.

    Raises:
        HTTPException: 507.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise HTTPException(507) from None
        raise
