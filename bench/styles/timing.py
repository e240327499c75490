"""Times of calls, and the ratio of two sides of a comparison, round by round."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

Times = tuple[float, float]  # by the clock, and of this process alone


def now() -> Times:
    """Give both clocks."""
    return time.perf_counter(), time.process_time()


def since(began: Times) -> Times:
    """Give how long ago that was, by both clocks."""
    wall, cpu = now()
    return wall - began[0], cpu - began[1]


def ratios(rounds: Sequence[Sequence[Times]], base: Sequence[Sequence[Times]]) -> dict[str, Any]:
    """Give for each clock the ratio of the medians of each round: the middle, lowest, highest."""
    return {
        kind: _ratio([_median(rows, n) for rows in rounds], [_median(rows, n) for rows in base])
        for n, kind in enumerate(("wall", "cpu"))
    }


def _median(rows: Sequence[Times], clock: int) -> float:
    return statistics.median(row[clock] for row in rows)


def _ratio(rows: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    found = [one / other for one, other in zip(rows, base, strict=True)]
    return {
        "ratio": round(statistics.median(found), 2),
        "low": round(min(found), 2),
        "high": round(max(found), 2),
        "ms": round(1000 * statistics.median(rows), 2),
    }
