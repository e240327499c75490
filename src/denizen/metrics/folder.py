"""The folder in which the processes of one run leave their figures for each other."""

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from denizen.metrics.figures import Figures, without_gauges

EVERY: Final = 1.0  # seconds between two times that a process leaves its figures
_ALIVE: Final = 5.0  # seconds; who has been silent for longer is gone, or might as well be


class MetricsFolder:
    """A folder with a file of each process, the dead included: what they counted has happened.

    The clock of the files is that of the machine since it was started, which nobody sets.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"  # a pid may come again

    @classmethod
    def prepare(cls, path: Path) -> None:
        """Make the folder, with nothing in it.

        Raises:
            OSError: it can't be made.
        """
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700, parents=True)

    def leave(self, figures: Figures) -> None:
        """Put this process's figures there, in place of those before.

        Raises:
            OSError: the folder is gone, or the disk is full.
        """
        told = {name: [[*item] for item in series.items()] for name, series in figures.items()}
        part = self._path / f"{self._name}.part"
        part.write_bytes(orjson.dumps({"at": time.monotonic(), "figures": told}))
        part.replace(self._path / f"{self._name}.json")

    def others(self) -> Iterator[Figures]:
        """Give the figures of the other processes; of the dead without what is over with them."""
        for path in self._path.glob("*.json"):
            if path.stem != self._name and (found := _read(path)) is not None:
                yield found


def _read(path: Path) -> Figures | None:
    try:
        told: Any = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    figures = {
        name: {tuple(labels): values for labels, values in series}
        for name, series in told["figures"].items()
    }
    return figures if time.monotonic() - told["at"] < _ALIVE else without_gauges(figures)
