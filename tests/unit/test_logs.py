"""Lines of the log: JSON for machines, text for people, and nothing of anybody in either."""

import json
import logging
import os
import pty
import subprocess
import sys

import pytest

from denizen import logs


@pytest.fixture
def record() -> logging.LogRecord:
    """Give a record of an error whose text holds a value."""
    with pytest.raises(ValueError, match="canary") as caught:
        int("canary")
    about = (caught.type, caught.value, caught.tb)
    return logging.LogRecord("denizen.mail", logging.ERROR, "x.py", 1, "sent %s", ("two",), about)


def test_record_is_one_json_object_with_the_kind_of_its_error(record: logging.LogRecord) -> None:
    """When, how bad, who, in which process, what: never what an error said."""
    line = logs.JsonLines().format(record)
    told = json.loads(line)

    assert "\n" not in line
    assert told.pop("at").endswith("Z")
    assert told == {
        "level": "error",
        "logger": "denizen.mail",
        "pid": os.getpid(),
        "message": "sent two",
        "error": "ValueError",
    }


def test_request_is_one_json_object(capfd: pytest.CaptureFixture[str]) -> None:
    """Id, method, route, status and milliseconds, beside what every line has."""
    logs.request_log()("0192", "GET", "/v1/users/{id}", 200, 0.0123456)
    out, line = capfd.readouterr()
    told = json.loads(line)

    assert (out, line.count("\n")) == ("", 1)
    assert {name: told[name] for name in ("request_id", "method", "route", "status", "ms")} == {
        "request_id": "0192",
        "method": "GET",
        "route": "/v1/users/{id}",
        "status": 200,
        "ms": 12.35,
    }
    assert told.keys() >= {"at", "level", "logger", "pid", "message"}


def test_nobody_who_reads_the_log_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that is closed on the other side, a disk that is full: the request goes on."""
    there, here = os.pipe()
    os.close(there)
    monkeypatch.setattr(logs, "_STDERR", here)
    try:
        logs.request_log()("0192", "GET", "/v1/me", 200, 0.001)
    finally:
        os.close(here)


def test_people_at_a_terminal_read_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """One short line."""
    seen, told = pty.openpty()
    with os.fdopen(told, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setattr(logs, "_STDERR", told)
        logs.request_log()("0192", "GET", "/v1/me", 200, 0.0031)
        line = os.read(seen, 1000)
    os.close(seen)

    assert line == b"[INFO] GET /v1/me 200 3.1 ms 0192\r\n"


_SAID = """
import logging.config
from denizen.logs import log_config
logging.config.dictConfig(log_config(is_terminal={is_terminal}))
for name in ("denizen.x", "_granian", "somebody"):
    logging.getLogger(name).info("told by %s", name)
logging.getLogger("somebody").warning("careful")
"""


@pytest.mark.parametrize("is_terminal", [True, False])
def test_configuration_holds_all_loggers(*, is_terminal: bool) -> None:
    """Ours tell from `info` on, others from `warning` on, each once, to stderr."""
    code = _SAID.format(is_terminal=is_terminal)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()

    assert done.stdout == ""
    if is_terminal:
        assert lines == ["[INFO] told by denizen.x", "[INFO] told by _granian", "[WARNING] careful"]
    else:
        told = [json.loads(line)["message"] for line in lines]
        assert told == ["told by denizen.x", "told by _granian", "careful"]
