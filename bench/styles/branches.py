"""How many decisions of a style can be tested without a database."""

import ast
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from styles.outer import STYLES

from bench.styles.copies import ROOT, SOURCE
from bench.styles.sizes import code_lines, modules

TESTS: Final = {
    "fakes": ROOT / "tests" / "unit" / "styles" / "test_by_fakes.py",
    "stubs": ROOT / "tests" / "unit" / "styles" / "test_by_stubs.py",
}
STANDINS: Final = ROOT / "tests" / "standins.py"


def branches() -> dict[str, dict[str, int]]:
    """Give how many branches each style has, how many are reached, and with how many lines."""
    return {letter: _of(letter) for letter in STYLES}


def count_branches(letter: str) -> int:
    """Give how many branches a style has."""
    return sum(map(count_in, _decided(letter)))


def count_in(path: Path) -> int:
    """Give how many branches a module has."""
    return sum(len(targets) or 2 for _, targets in _decisions(path))


def reached_in(path: Path, covered: dict[str, Any], root: Path = ROOT) -> int:
    """Count the branches of a module that were gone."""
    file = covered.get(path.relative_to(root).as_posix())
    if file is None:
        return 0
    return sum(
        sum(line in file["executed_lines"] for line in targets)
        if targets
        else sum(start == number for start, _ in file["executed_branches"])
        for number, targets in _decisions(path)
    )


def covered_by(
    tests: list[str], source: Path, root: Path = ROOT, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run tests under coverage of a folder, and give what was covered by file."""
    with tempfile.TemporaryDirectory(prefix="styles-branches-") as folder:
        data, told = Path(folder) / "data", Path(folder) / "coverage.json"
        coverage = [sys.executable, "-m", "coverage"]
        run = ["run", "--branch", f"--source={source}", f"--data-file={data}"]
        for command in (
            [*coverage, *run, "-m", "pytest", *tests],
            [*coverage, "json", "-q", f"--data-file={data}", "-o", str(told)],
        ):
            subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
        files: dict[str, Any] = json.loads(told.read_text("utf-8"))["files"]
        return files


def _of(letter: str) -> dict[str, int]:
    found = {"branches": count_branches(letter)}
    for kind, tests in TESTS.items():
        covered = _covered(letter, tests)
        found[kind] = sum(reached_in(path, covered) for path in _decided(letter))
        found[f"{kind}_lines"] = _test_lines(letter, tests)
    return found


def _decided(letter: str) -> list[Path]:
    return [path for path in modules(letter) if path.name != "manager.py"]


def _decisions(path: Path) -> Iterator[tuple[int, list[int]]]:
    """Give the line of each decision; for an `except`, the line on which it begins to act."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.If | ast.For | ast.AsyncFor | ast.While):
            yield node.lineno, []
        elif isinstance(node, ast.ExceptHandler):
            yield node.lineno, [node.body[0].lineno]


def _covered(letter: str, tests: Path) -> dict[str, Any]:
    """Run the style's tests alone; nothing is covered by no tests."""
    if not _tests_of(letter, tests.read_text("utf-8")):
        return {}
    return covered_by(["-q", "-p", "no:randomly", str(tests), "-k", f"test_{letter}_"], SOURCE)


def _tests_of(letter: str, text: str) -> list[ast.stmt]:
    body = ast.parse(text).body
    return [node for node in body if getattr(node, "name", "").startswith(f"test_{letter}_")]


def _test_lines(letter: str, tests: Path) -> int:
    """Count the lines of the style's own tests and of the stand-ins that they name."""
    text, standins = tests.read_text("utf-8"), STANDINS.read_text("utf-8")
    mine = _tests_of(letter, text)
    named = {node.id for test in mine for node in ast.walk(test) if isinstance(node, ast.Name)}
    classes = [n for n in ast.parse(standins).body if getattr(n, "name", "") in named]
    return _count(text, mine) + _count(standins, classes)


def _count(text: str, nodes: list[ast.stmt]) -> int:
    lines = code_lines(text)
    return sum(
        line in lines for node in nodes for line in range(node.lineno, (node.end_lineno or 0) + 1)
    )
