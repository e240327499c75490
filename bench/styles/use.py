"""Which of the verbs denizen's own code calls, and which functions instead."""

import ast
from collections import Counter
from pathlib import Path
from typing import Final

from bench.styles.copies import ROOT

OWN: Final = ROOT / "src" / "denizen"
VERBS: Final = ("get_by_id", "get_by_email", "lock", "delete", "create", "update", "get_all")
FUNCTIONS: Final = ("insert_row", "update_row")
UNITS: Final = {"db", "unit"}  # what a unit of work is called where it is handed on


def uses() -> dict[str, int]:
    """Give how many times each verb and each function is called outside the data layer."""
    paths = [path for path in sorted(OWN.rglob("*.py")) if path.parent != OWN / "db"]
    found = Counter(name for path in paths for name in _called(path))
    return {name: found[name] for name in (*VERBS, *FUNCTIONS)}


def _called(path: Path) -> list[str]:
    calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
    return [
        call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
        for call in calls
        if call.args and isinstance(call.args[0], ast.Name) and call.args[0].id in UNITS
    ]
