"""Copies of `examples/styles` in which patches are applied, and what is asked of them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from styles.outer import STYLES

from denizen.db.testing import Databases

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "examples" / "styles"
CHANGES: Final = ("letter_case", "tenant", "audit_row")
NEW_SCENARIO: Final = "new_scenario"


@dataclass(frozen=True, slots=True)
class Touched:
    """What a patch does to one file."""

    file: str
    added: int
    deleted: int


def numstat(patch: Path) -> list[Touched]:
    """Give what `git apply --numstat` says of a patch."""
    told = _git("apply", "--numstat", str(patch), cwd=patch.parent)
    rows = [line.split("\t") for line in told.splitlines()]
    return [Touched(file, int(added), int(deleted)) for added, deleted, file in rows]


def patches_of(change: str, letter: str) -> list[Path]:
    """Give the patches that make a change in a style: what is outside all of them, and its own."""
    folder = SOURCE / "changes" / change
    return [p for p in (folder / "outer.patch", folder / f"{letter}.patch") if p.exists()]


def leaving() -> list[Path]:
    """Give the patches that lead from (c) to (e), in their order."""
    return sorted((SOURCE / "leaving").glob("*.patch"))


def mistakes(kind: str) -> list[Path]:
    """Give the patches of a kind of mistake, `typos` or `transactions`."""
    return sorted((SOURCE / "mistakes" / kind).glob("*.patch"))


def copy_styles(folder: Path, *patches: Path) -> Path:
    """Copy all styles to `folder/styles`, apply patches, and give the folder."""
    copy = folder / "styles"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for patch in patches:
        _git("apply", str(patch), cwd=copy)
    return folder


def try_contract(folder: Path, server: Databases, letter: str, *options: str) -> list[Any] | None:
    """Run the contract in a copy; give what was found, None when the copy can't even start."""
    path = os.pathsep.join([str(folder), *(str(ROOT / name) for name in ("src", "tests"))])
    command = [sys.executable, "-m", "styles.contract.run", server.superuser_url, server.owner_url]
    done = subprocess.run(  # our own module
        [*command, letter, *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return None if done.returncode else found


def is_kept(found: Sequence[Any] | None, breaks: dict[str, str]) -> bool:
    """Whether a copy keeps what the original keeps; what is not listed must hold."""
    return found is not None and all(
        one["holds"] or (one["style"] in breaks.get(one["name"], "") and not one["is_odd"])
        for one in found
    )


def folder_of(letter: str, root: Path = SOURCE) -> Path:
    """Give a style's folder."""
    return root / STYLES[letter]


def _git(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        ["git", *words],  # the one that is on the machine
        cwd=cwd,
        env=os.environ | {"GIT_CEILING_DIRECTORIES": str(cwd.parent.resolve())},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout
