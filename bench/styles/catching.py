"""Who catches a planted mistake: the types, a lint, a test of the contract, or nobody."""

import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from styles.outer import STYLES

from bench.styles.copies import (
    SOURCE,
    copy_styles,
    is_kept,
    mistakes,
    numstat,
    try_contract,
)
from bench.styles.tools import TOOLS, put_under
from denizen.db.testing import Databases

KINDS: Final = ("typos", "transactions")
FIRST: Final = {
    "mypy": "types", "pyright": "types", "ruff": "lint", "house": "lint", "test": "test",
}  # fmt: skip


def planted_in(patch: Path) -> list[str]:
    """Give the letters of the styles in which a patch plants its mistake."""
    files = {touched.file.split("/")[0] for touched in numstat(patch)}
    return [letter for letter, package in STYLES.items() if package in files]


def ask_everybody(
    server: Databases, breaks: dict[str, str], *, jobs: int
) -> dict[str, list[dict[str, Any]]]:
    """Give for each kind of mistake, each mistake and each style who says something."""
    with tempfile.TemporaryDirectory(prefix="styles-mistakes-") as temporary:
        folder = Path(temporary)
        copies = {
            patch: copy_styles(folder / f"{kind}-{number}", patch)
            for kind in KINDS
            for number, patch in enumerate(mistakes(kind))
        }
        told = _ask_tools(folder / "tools", copies)
        tested = _ask_tests(server, copies, breaks, jobs)
        return {
            kind: [
                {
                    "name": patch.stem.replace("_", " "),
                    "says": patch.read_text("utf-8").split("\n\n")[0].replace("\n", " "),
                    "caught": {
                        letter: told[patch, letter] | tested[patch, letter]
                        for letter in planted_in(patch)
                    },
                }
                for patch in mistakes(kind)
            ]
            for kind in KINDS
        }


def verdict(caught: dict[str, Any] | None) -> str:
    """Give who catches first: `types`, `lint`, `test`, `nothing`; `inherent` when not planted."""
    if caught is None:
        return "inherent"
    return next((word for tool, word in FIRST.items() if caught[tool]), "nothing")


def _ask_tools(folder: Path, copies: dict[Path, Path]) -> dict[tuple[Path, str], dict[str, Any]]:
    folder.mkdir()
    names = {}
    for letter in STYLES:
        put_under(f"usual_{letter}", SOURCE, letter, folder)
    for number, (patch, copy) in enumerate(copies.items()):
        for letter in planted_in(patch):
            names[patch, letter] = f"planted{number}_{letter}"
            put_under(names[patch, letter], copy / "styles", letter, folder)
    found: dict[tuple[Path, str], dict[str, Any]] = {key: {} for key in names}
    for tool, ask in TOOLS.items():
        sayings = ask(folder)
        for (patch, letter), name in names.items():
            usual = sayings.get(f"usual_{letter}", Counter())
            more = sayings.get(name, Counter()) - usual
            is_asked = tool != "house" or not usual  # nobody asks a lint that he breaks all over
            found[patch, letter][tool] = min(more, default="") if is_asked else ""
    return found


def _ask_tests(
    server: Databases, copies: dict[Path, Path], breaks: dict[str, str], jobs: int
) -> dict[tuple[Path, str], dict[str, Any]]:
    keys = [(patch, letter) for patch in copies for letter in planted_in(patch)]

    def ask(key: tuple[Path, str]) -> dict[str, Any]:
        found = try_contract(copies[key[0]], server, key[1], "--stop")
        if found is None:
            return {"test": "it does not even start"}
        if is_kept(found, breaks):
            return {"test": ""}
        return {"test": f"{found[-1]['name']}: {found[-1]['seen']}"}

    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip(keys, pool.map(ask, keys), strict=True))
