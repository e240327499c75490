"""What processes take of the machine, as Linux tells."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def tree(pid: int, *, also_forks: bool = False) -> Iterator[int]:
    """Give a process and all below it.

    Args:
        pid: of the process.
        also_forks: those, too, that have their parent's name: one that is about to begin its own
            program has its parent's memory as well, which would be counted twice.
    """
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                if also_forks or _name(int(child)) != _name(pid):
                    yield from tree(int(child), also_forks=also_forks)


def memory(pid: int) -> int:
    """Give the bytes that a process has in memory."""
    with contextlib.suppress(OSError, IndexError):
        text = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def processor_seconds(pid: int) -> float:
    """Give the seconds of a core that a process has had, with its children that have ended."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _name(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
