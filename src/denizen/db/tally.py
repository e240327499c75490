"""What the data layer has done in this process, in plain numbers: cheap enough for every statement.

Nothing is told to anybody here; whoever wants to know reads.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

# seconds; from a read on this machine to what no caller waits for
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Durations:
    """How many took how long.

    Attributes:
        counts: so many up to each of `BOUNDS` and above the one before, and those beyond the last.
        total: seconds, all together.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class DataTally:
    """The statements of one manager, and how often its units were run again.

    Attributes:
        statements: those that were answered, with an error or without; COPY and the words around
            transactions are not among them.
        reruns: by the class of the SQLSTATE that was the reason; `none`: nobody answered.
    """

    statements: Durations = field(default_factory=Durations)
    reruns: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class PoolState:
    """How the pool of connections is.

    Attributes:
        size: connections that it may open.
        in_use: those that are lent.
        waited: how often somebody had to wait for one, so far.
        timed_out: how often in vain.
    """

    size: int = 0
    in_use: int = 0
    waited: int = 0
    timed_out: int = 0
