"""How many decisions of a style can be tested without a database."""

import ast
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from styles.outer import STYLES

from bench.styles.copies import ROOT, SOURCE
from bench.styles.sizes import code_lines, modules

TESTS = ROOT / "tests" / "unit" / "styles" / "test_without_database.py"


def branches() -> dict[str, dict[str, int]]:
    """Give how many branches each style has, how many are reached, and with how many lines."""
    return {letter: _of(letter) for letter in STYLES}


def _of(letter: str) -> dict[str, int]:
    covered = _covered(letter)
    reached = total = 0
    for path in modules(letter):
        if path.name == "manager.py":
            continue
        file = covered.get(path.relative_to(ROOT).as_posix())
        for number, targets in _decisions(path):
            total += len(targets) if targets else 2
            if file is None:
                continue
            if targets:
                reached += sum(line in file["executed_lines"] for line in targets)
            else:
                reached += sum(start == number for start, _ in file["executed_branches"])
    return {"branches": total, "reached": reached, "test_lines": _test_lines(letter)}


def _decisions(path: Path) -> Iterator[tuple[int, list[int]]]:
    """Give the line of each decision; for an `except`, the line on which it begins to act."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.If | ast.For | ast.AsyncFor | ast.While):
            yield node.lineno, []
        elif isinstance(node, ast.ExceptHandler):
            yield node.lineno, [node.body[0].lineno]


def _covered(letter: str) -> dict[str, Any]:
    """Run the style's tests under coverage, and nothing else's."""
    with tempfile.TemporaryDirectory(prefix="styles-branches-") as folder:
        data, told = Path(folder) / "data", Path(folder) / "coverage.json"
        coverage = [sys.executable, "-m", "coverage"]
        run = ["run", "--branch", f"--source={SOURCE}", f"--data-file={data}"]
        pytest = ["-m", "pytest", "-q", "-p", "no:randomly", str(TESTS), "-k", f"test_{letter}_"]
        for command in (
            [*coverage, *run, *pytest],
            [*coverage, "json", "-q", f"--data-file={data}", "-o", str(told)],
        ):
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        files: dict[str, Any] = json.loads(told.read_text("utf-8"))["files"]
        return files


def _test_lines(letter: str) -> int:
    """Count the lines of the style's own tests and of the stand-ins that they name."""
    tests = TESTS.read_text("utf-8")
    standins = (ROOT / "tests" / "standins.py").read_text("utf-8")
    mine = [
        n for n in ast.parse(tests).body if getattr(n, "name", "").startswith(f"test_{letter}_")
    ]
    named = {node.id for test in mine for node in ast.walk(test) if isinstance(node, ast.Name)}
    classes = [n for n in ast.parse(standins).body if getattr(n, "name", "") in named]
    return _count(tests, mine) + _count(standins, classes)


def _count(text: str, nodes: list[ast.stmt]) -> int:
    lines = code_lines(text)
    return sum(
        line in lines for node in nodes for line in range(node.lineno, (node.end_lineno or 0) + 1)
    )
