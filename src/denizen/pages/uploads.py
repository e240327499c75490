"""Forms with a file: it goes to the disk while it arrives, once the form's token is known."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from denizen.http.upload import FILE_FIELD, receive_upload
from denizen.pages.forms import TOKEN, Form, require_token


@dataclass(frozen=True, slots=True)
class Uploads:
    """What `Site.add` takes for a form with a file.

    Attributes:
        part: makes the empty file that an upload is written to.
        limit: octets that it may have.
    """

    part: Callable[[], Path]
    limit: int


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The file of a form, gone after the answer unless it was moved; `name` is its owner's."""

    path: Path
    name: str


@contextlib.asynccontextmanager
async def receiving(
    request: Request, uploads: Uploads, cookie: str
) -> AsyncIterator[tuple[Form, Uploaded | None]]:
    """Give the fields of a form and its file, or None where none was chosen.

    The token is asked for before the first octet of the file is written, and so stands before it.

    Raises:
        FormRefusedError: the token is not for that cookie.
        HTTPException: as `receive_upload`.
    """

    def admit(fields: Mapping[str, list[str]]) -> None:
        require_token(cookie, "".join(fields.get(TOKEN, ())[-1:]))

    part = await asyncio.to_thread(uploads.part)
    try:
        upload = await receive_upload(request, part, limit=uploads.limit, admit=admit)
        admit(upload.fields)
        digest = await asyncio.to_thread(_digest, part)
        told = [(name, value) for name, values in upload.fields.items() for value in values]
        # so that the same form with another file is another form
        form = Form([*told, (FILE_FIELD, f"{digest} {upload.name}")])
        # browsers send a part without a name where nothing was chosen
        yield form, Uploaded(part, upload.name) if upload.name else None
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
