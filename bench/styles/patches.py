"""The contract on the styles as they are, and on copies with the prepared patches applied."""

import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
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
    patches_of,
    try_contract,
)
from bench.styles.tools import mypy, put_under, ruff
from denizen.db.testing import Databases

TYPED = "cde"


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
    """Apply every prepared change to a copy and see that it does what it is for, and nothing else.

    Raises:
        RuntimeError: one does not.
    """
    with tempfile.TemporaryDirectory(prefix="styles-patches-") as temporary:
        folder = Path(temporary)
        copies = {
            (change, letter): copy_styles(
                folder / f"{change}_{letter}", *patches_of(change, letter)
            )
            for change in (*CHANGES, NEW_SCENARIO)
            for letter in STYLES
        }

        def ask(key: tuple[str, str]) -> list[Any] | None:
            change, letter = key
            options = ("--outer", "--stop", f"--change={change}")
            return try_contract(copies[key], server, letter, *options)

        with ThreadPoolExecutor(jobs) as pool:
            for (change, letter), found in zip(copies, pool.map(ask, copies), strict=True):
                if not is_kept(found, breaks):
                    last = found[-1] if found else "it does not even start"
                    raise RuntimeError(f"{change} in ({letter}): {last}")
        typed = [(change, n, copy) for (change, n), copy in copies.items() if n in TYPED]
        see_tools(folder / "tools", typed)


def see_tools(folder: Path, copies: list[tuple[str, str, Path]]) -> None:
    """See that patched code is formatted, typed and linted like the rest.

    Args:
        folder: a new one, to work in.
        copies: of each its name, the letter of its style, and where it is.

    Raises:
        RuntimeError: it is not.
    """
    folder.mkdir()
    for letter in {letter for _, letter, _ in copies}:
        put_under(f"usual_{letter}", SOURCE, letter, folder)
    for number, (_, letter, copy) in enumerate(copies):
        put_under(f"patched{number}", copy / "styles", letter, folder)
        _see_format(folder_of(letter, copy / "styles"))
    for ask in (mypy, ruff):
        sayings = ask(folder)
        for number, (name, letter, _) in enumerate(copies):
            usual = sayings.get(f"usual_{letter}", Counter())
            if more := sayings.get(f"patched{number}", Counter()) - usual:
                raise RuntimeError(f"{name} in ({letter}): {', '.join(more)}")


def _see_format(folder: Path) -> None:
    command = [sys.executable, "-m", "ruff", "format", "--check", "--no-cache", str(folder)]
    subprocess.run(  # our own tool
        [*command, f"--config={ROOT / 'pyproject.toml'}"], check=True, capture_output=True
    )
