"""The contract on the styles as they are, and on copies with the prepared patches applied."""

import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styles.contract.run import list_properties
from styles.outer import STYLES

from bench.styles.copies import (
    CHANGES,
    NEW_SCENARIO,
    ROOT,
    SOURCE,
    copy_styles,
    folder_of,
    is_kept,
    leaving,
    patches_of,
    try_contract,
)
from bench.styles.tools import mypy, put_under, ruff
from denizen.db.testing import Databases

TYPED = "cde"


@dataclass(frozen=True, slots=True)
class Patched:
    """A copy with patches: of which style, and what more is asked of it."""

    name: str
    letter: str
    folder: Path
    options: tuple[str, ...]


def try_contracts(server: Databases, *, jobs: int) -> list[dict[str, Any]]:
    """Give for every property and style whether it holds, and what was seen.

    Raises:
        RuntimeError: a style broke off.
    """
    with ThreadPoolExecutor(jobs) as pool:
        runs = pool.map(lambda letter: try_contract(ROOT / "examples", server, letter), STYLES)
        found = {(one["style"], one["name"]): one for run in runs for one in run or []}
    odd = [one for one in found.values() if one["is_odd"]]
    if odd or {letter for letter, _ in found} != set(STYLES):
        raise RuntimeError(f"the contract broke off: {odd}")
    return [
        {
            "name": wanted.name,
            "says": wanted.says,
            "row": wanted.row,
            "breaks": wanted.breaks,
            "found": {
                letter: {"holds": one["holds"], "seen": one["seen"]}
                for letter in STYLES
                if (one := found.get((letter, wanted.name))) is not None
            },
        }
        for wanted in list_properties()
    ]


def try_patches(server: Databases, breaks: dict[str, str], *, jobs: int) -> None:
    """Apply every prepared patch to a copy and see that it does what it is for, and nothing else.

    Raises:
        RuntimeError: one does not.
    """
    with tempfile.TemporaryDirectory(prefix="styles-patches-") as temporary:
        copies = [*_changed(Path(temporary)), *_left(Path(temporary))]
        with ThreadPoolExecutor(jobs) as pool:
            runs = pool.map(
                lambda copy: try_contract(
                    copy.folder, server, copy.letter, "--outer", "--stop", *copy.options
                ),
                copies,
            )
            for copy, found in zip(copies, runs, strict=True):
                if not is_kept(found, breaks):
                    last = found[-1] if found else "it does not even start"
                    raise RuntimeError(f"{copy.name} in ({copy.letter}): {last}")
        _ask_tools(Path(temporary) / "tools", [copy for copy in copies if copy.letter in TYPED])


def _changed(folder: Path) -> list[Patched]:
    return [
        Patched(
            change,
            letter,
            copy_styles(folder / f"{change}_{letter}", *patches_of(change, letter)),
            (f"--change={change}",),
        )
        for change in (*CHANGES, NEW_SCENARIO)
        for letter in STYLES
    ]


def _left(folder: Path) -> list[Patched]:
    steps = leaving()
    return [
        Patched(patch.stem, "c", copy_styles(folder / f"leaving{number}", *steps[:number]), ())
        for number, patch in enumerate(steps, 1)
    ]


def _ask_tools(folder: Path, copies: list[Patched]) -> None:
    """See that patched code is formatted, typed and linted like the rest."""
    folder.mkdir()
    for letter in TYPED:
        put_under(f"usual_{letter}", SOURCE, letter, folder)
    for number, copy in enumerate(copies):
        put_under(f"patched{number}", copy.folder / "styles", copy.letter, folder)
        _see_format(folder_of(copy.letter, copy.folder / "styles"))
    for ask in (mypy, ruff):
        sayings = ask(folder)
        for number, copy in enumerate(copies):
            usual = sayings.get(f"usual_{copy.letter}", Counter())
            if more := sayings.get(f"patched{number}", Counter()) - usual:
                raise RuntimeError(f"{copy.name} in ({copy.letter}): {', '.join(more)}")


def _see_format(folder: Path) -> None:
    command = [sys.executable, "-m", "ruff", "format", "--check", "--no-cache", str(folder)]
    subprocess.run(  # our own tool
        [*command, f"--config={ROOT / 'pyproject.toml'}"], check=True, capture_output=True
    )
