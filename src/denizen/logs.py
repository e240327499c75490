"""What the service writes about itself, to stderr: JSON, one object a line, or text on a terminal.

Of a request there is a line with its id, method, route, status and duration: never its path, query,
headers or body, nor from where it came. Of an error, its kind: texts may hold values.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson

RequestLog = Callable[[str, str, str, int, float], None]
_STDERR: Final = 2
_REQUESTS: Final = "denizen.requests"


class JsonLines(logging.Formatter):
    """A record as one JSON object: when, how bad, who says what, in which process."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line; of an exception its kind alone."""
        told = _told(record.created, record.levelname, record.name, record.getMessage())
        if record.exc_info and record.exc_info[0] is not None:
            told["error"] = record.exc_info[0].__name__
        return orjson.dumps(told, default=str).decode()


def log_config(*, is_terminal: bool) -> dict[str, Any]:
    """Give the configuration of all logging in the service, as `logging.config` takes it."""
    text = {"format": "[%(levelname)s] %(message)s"}
    form = text if is_terminal else {"()": f"{__name__}.{JsonLines.__name__}"}
    own: dict[str, Any] = {"level": "INFO", "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": form},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {"denizen": own, "_granian": own, "granian.access": own},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
    }


def request_log() -> RequestLog:
    """Give what writes a line for each request: a fourth of what `logging` would take for it."""
    return _write_text if sys.stderr.isatty() else _write_json


def _write_json(request_id: str, method: str, route: str, status: int, seconds: float) -> None:
    told = _told(None, "INFO", _REQUESTS, "answered")
    told |= {"request_id": request_id, "method": method, "route": route}
    told |= {"status": status, "ms": round(seconds * 1000, 2)}
    _write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))


def _write_text(request_id: str, method: str, route: str, status: int, seconds: float) -> None:
    line = f"[INFO] {method} {route} {status} {seconds * 1000:.1f} ms {request_id}\n"
    _write(line.encode())


def _write(line: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody reads any more, or the disk is full
        os.write(_STDERR, line)


def _told(created: float | None, level: str, name: str, message: str) -> dict[str, Any]:
    at = datetime.now(UTC) if created is None else datetime.fromtimestamp(created, UTC)
    return {
        "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level.lower(),
        "logger": name,
        "pid": os.getpid(),
        "message": message,
    }
