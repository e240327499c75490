"""What a row of the fault matrix measured; `docs/faults.py` makes a page of it.

With `DENIZEN_FAULTS_OUT=file` every row is put into that file, a list in JSON, in place of the one
that was measured before.
"""

import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from faults.recorder import Try

IS_FULL: Final = os.environ.get("DENIZEN_FAULTS") == "full"
IN_FULL: Final = pytest.mark.skipif(not IS_FULL, reason="takes long; `make faults` runs it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One row.

    Attributes:
        row: its number in the matrix.
        fault: what was done.
        expected: what must hold.
        acts: how many were told to be done.
        lost: of them not there in the end.
        doubled: acts that had more than one effect.
        unknown: answers that never came, or said that nobody knows; asking again settles them.
        unresolved: acts that nobody was told of, however often they asked.
        gap: longest time, in seconds, in which nobody was told that an act was done.
        p99: milliseconds within which 99 of 100 reads were answered, whatever the answer: before
            the fault, while it lasted, and afterwards.
        leaked: connections and transactions that were still open afterwards.
        is_control: whether the service was broken on purpose, so that a checker must find it.
        found: what a control's checker found.
    """

    row: str
    fault: str
    expected: str
    acts: int = 0
    lost: int = 0
    doubled: int = 0
    unknown: int = 0
    unresolved: int = 0
    gap: float = 0.0
    p99: tuple[float | None, float | None, float | None] = (None, None, None)
    leaked: int = 0
    is_control: bool = False
    found: str = ""

    @property
    def is_green(self) -> bool:
        """Whether nothing told is lost, nothing doubled, nothing left open or behind."""
        return not (self.lost or self.doubled or self.unresolved or self.leaked)


def full(much: int, short: int) -> int:
    """Give how often something is done: much in a full run, less among the other tests."""
    return much if IS_FULL else short


def publish(measured: Measured) -> Measured:
    """Tell what was measured, and put it into the file if there is one."""
    row = asdict(measured) | {"is_green": measured.is_green}
    print(json.dumps(row))
    if out := os.environ.get("DENIZEN_FAULTS_OUT"):
        _put(Path(out), row)
    return measured


def _put(path: Path, row: dict[str, Any]) -> None:
    rows = json.loads(path.read_text("utf-8")) if path.exists() else []
    names = ("row", "fault", "is_control")
    others = [one for one in rows if any(one[name] != row[name] for name in names)]
    path.write_text(json.dumps([*others, row], indent=1) + "\n", "utf-8")


def control(measured: Measured, found: str) -> Measured:
    """Tell, and add, what a checker found at a service that is broken on purpose."""
    return publish(replace(measured, is_control=True, found=found))


def longest_gap(tries: Iterable[Try], kind: str = "create") -> float:
    """Give the longest time between two acts that were told to be done."""
    times = sorted(one.ended for one in tries if one.kind == kind and one.outcome == "ok")
    return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


def p99(tries: Iterable[Try], begin: float, end: float, kind: str = "read") -> float | None:
    """Give the milliseconds of 99 in 100 of the requests that began in that time."""
    took = sorted(
        1000 * (one.ended - one.began)
        for one in tries
        if one.kind == kind and begin <= one.began < end and one.ended < float("inf")
    )
    return round(took[min(len(took) - 1, int(0.99 * len(took)))], 1) if took else None


def phases(
    tries: Sequence[Try], marks: dict[str, float]
) -> tuple[float | None, float | None, float | None]:
    """Give the p99 before `fault`, until `healed`, and afterwards."""
    never = float("inf")
    fault, healed = marks.get("fault", never), marks.get("healed", never)
    return p99(tries, 0, fault), p99(tries, fault, healed), p99(tries, healed, never)
