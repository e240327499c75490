"""How much of the machine this process may use."""

import contextlib
import math
import os
from pathlib import Path, PurePosixPath


def cores() -> int:
    """Count the cores that this process may use: by its affinity, and by a container's quota."""
    all_of_them = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else all_of_them
    return int(max(1, min(allowed, quota())))


def quota(root: Path = Path("/")) -> float:
    """Give how many cores the control groups of this process grant; infinity where none limits.

    Args:
        root: where the files of Linux' control groups (version 2) are.
    """
    smallest = math.inf
    with contextlib.suppress(OSError):
        told = (root / "proc/self/cgroup").read_text("ascii")
        group = PurePosixPath(told.rpartition("0::/")[2].strip())
        for one in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):  # "max" is no number, and no limit
                granted, period = (root / "sys/fs/cgroup" / one / "cpu.max").read_text().split()
                smallest = min(smallest, int(granted) / int(period))
    return smallest
