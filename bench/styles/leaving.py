"""The way from (c) to (e): each step applied on top of the one before, tried, timed and heard."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from styles.outer import STYLES

from bench.styles.copies import copy_styles, is_kept, leaving, numstat, try_contract
from bench.styles.patches import see_tools
from bench.styles.tools import put_under
from denizen.db.testing import Databases

FROM: Final = "c"


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Give for each step the name under which its package is imported, and its copy's folder."""
    steps = leaving()
    for number in range(1, len(steps) + 1):
        copy = copy_styles(folder / f"copy{number}", *steps[:number])
        put_under(f"left{number}", copy / "styles", FROM, folder)
        yield f"left{number}.{STYLES[FROM]}", copy


def try_steps(server: Databases, breaks: dict[str, str], copies: list[Path]) -> list[int]:
    """Give the seconds that it takes to see that a step broke nothing: contract, mypy and ruff.

    Raises:
        RuntimeError: one did.
    """
    return [_try_step(server, breaks, copy) for copy in copies]


def _try_step(server: Databases, breaks: dict[str, str], copy: Path) -> int:
    began = time.monotonic()
    found = try_contract(copy, server, FROM, "--outer", "--stop")
    if not is_kept(found, breaks):
        last = found[-1] if found else "it does not even start"
        raise RuntimeError(f"{copy.name} in ({FROM}): {last}")
    see_tools(copy / "tools", [(copy.name, FROM, copy)])
    return round(time.monotonic() - began)


def count_left() -> int:
    """Give how many files all steps touch together."""
    return len({file.file for patch in leaving() for file in numstat(patch)})


def sizes_of_steps() -> list[dict[str, Any]]:
    """Give what each step touches."""
    return [
        {
            "step": patch.stem[2:].replace("_", " "),
            "files": len(files),
            "added": sum(file.added for file in files),
            "deleted": sum(file.deleted for file in files),
        }
        for patch in leaving()
        for files in [numstat(patch)]
    ]


def told(seconds: int, name: str, heard: dict[str, Any], races: dict[str, int]) -> dict[str, Any]:
    """Give what a step took to be checked, and what its copy says on the wire."""
    return {
        "seconds": seconds,
        "statements": {scenario: cells[name] for scenario, cells in heard.items()},
        "lost_race": races[name],
    }
