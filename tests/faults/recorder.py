"""The history of a run: what was asked and what was answered, as lines of JSON.

A line is with the kernel before its request leaves: whatever dies afterwards, it is known that it
was asked. What the history must fulfil stands in `checkers.py`.
"""

import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

Outcome = Literal["ok", "fail", "info"]  # done; certainly not done; nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One request: of which act, when, and what it was told; without an end nobody knows."""

    kind: str
    value: str
    began: float
    ended: float = float("inf")
    outcome: Outcome = "info"
    told: str = ""


class Recorder:
    """Writes a history, from one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._numbers = itertools.count()
        self.marks: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def invoke(self, kind: str, value: str) -> int:
        """Note that a request is about to leave; give its number."""
        number = next(self._numbers)
        self._write(number=number, type="invoke", kind=kind, value=value)
        return number

    def end(self, number: int, outcome: Outcome, told: str = "") -> None:
        """Note how a request ended."""
        self._write(number=number, type=outcome, told=told)

    def mark(self, name: str) -> None:
        """Note that something happens to the service now."""
        self.marks[name] = time.monotonic()
        self._write(type="mark", told=name)

    def tries(self) -> list[Try]:
        """Read the history back."""
        return read(self._path.read_text("utf-8").splitlines())

    def _write(self, **line: object) -> None:
        self._file.write(json.dumps({"at": time.monotonic(), **line}).encode() + b"\n")


def read(lines: Iterable[str]) -> list[Try]:
    """Give the requests of a history; the last line may be torn."""
    begun: dict[int, dict[str, str | float]] = {}
    ended: dict[int, dict[str, str | float]] = {}
    for line in lines:
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if told["type"] == "invoke":
            begun[told["number"]] = {n: told[n] for n in ("kind", "value")} | {"began": told["at"]}
        elif told["type"] != "mark":
            end = {"ended": told["at"], "outcome": told["type"], "told": told["told"]}
            ended[told["number"]] = end
    return [Try(**begun[n], **ended.get(n, {})) for n in begun]  # type: ignore[arg-type]


def outcomes(tries: Iterable[Try], kind: str = "create") -> dict[str, Outcome]:
    """Give what became of each act: done as soon as one try was, not done when no try was."""
    told: defaultdict[str, set[Outcome]] = defaultdict(set)
    for one in tries:
        if one.kind == kind:
            told[one.value].add(one.outcome)
    return {
        value: "ok" if "ok" in found else "info" if "info" in found else "fail"
        for value, found in told.items()
    }
