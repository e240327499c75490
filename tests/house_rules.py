"""Rules of the house about transactions that no linter knows, as a linter: `house_rules.py FOLDER`.

A module in a folder called `db` may do what the others may not.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ENDS: Final = {"commit", "rollback"}
OPENS: Final = {"AsyncSession", "async_sessionmaker", "create_async_engine", "Session"}


def broken_rules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Give the line and the words of every breach."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr in ENDS:
            yield node.lineno, f"ends a transaction: .{node.func.attr}()"
        if isinstance(node.func, ast.Name) and node.func.id in OPENS:
            yield node.lineno, f"opens a session beside the manager: {node.func.id}()"


def check(folder: Path) -> list[str]:
    """Give a line for every breach outside `db`."""
    return [
        f"{path.relative_to(folder).as_posix()}:{line}: {words}"
        for path in sorted(folder.rglob("*.py"))
        if path.parent.name != "db"
        for line, words in broken_rules(ast.parse(path.read_text("utf-8")))
    ]


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in check(Path(sys.argv[1])))
