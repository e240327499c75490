"""The cookies of the pages. `__Host-`: this host alone sets them, over HTTPS or on localhost.

The session's cookie holds an ordinary session token; `/v1` never looks at it.
"""

import base64
import binascii
from datetime import timedelta
from typing import Final

from starlette.responses import Response

SESSION: Final = "__Host-session"
GUARD: Final = "__Host-form"  # what forms are bound to while nobody is signed in
FLASH: Final = "__Host-flash"  # one sentence for the next page
LANGUAGE: Final = "__Host-language"
ZONE: Final = "__Host-zone"  # set by the script: the browser's time zone
YEAR: Final = timedelta(days=365)


def put(response: Response, name: str, value: str, life: timedelta | None = None) -> None:
    """Set a cookie, for as long as the browser runs unless a life is given; "" removes it."""
    seconds = 0 if not value else None if life is None else int(life.total_seconds())
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax"
    )


def to_value(text: str) -> str:
    """Write a text as a cookie's value."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def from_value(value: str) -> str:
    """Read such a value; an empty text for anything else."""
    try:
        padded = value + "=" * (-len(value) % 4)
        return base64.b64decode(padded.encode(), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
