"""Writes `docs/sketch.md`: the 24 defects of the sketch, and the tests that prove each.

python docs/sketch.py > docs/sketch.md

What the sketch does is told here; what was seen to go wrong comes from `make styles`, what holds
now from the tests that carry `@pytest.mark.sketch(row)`.
"""

import ast
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
FIGURES: Final = ROOT / "docs" / "decisions" / "0001-styles.json"
HEAD: Final = """\
# The sketch's 24 defects

denizen grew from a sketch of a users scenario: first a class that does everything, (a), then a
session manager with CRUD on the model class, (b). Both stand in
[`examples/styles`](../examples/styles),
changed only as far as they need to run, and are held to the same contract as three other styles
([why](decisions/0001-crud-on-the-model.md)). Each row says what the sketch does, what was seen to
go wrong when the contract was run against it, and which tests hold the opposite in denizen.

Made by `python docs/sketch.py`; a test compares. `pytest -m sketch` runs the tests named here.
"""
SKETCH: Final = {
    1: "look up, then insert",
    2: "only the e-mail is looked up",
    3: '`detail=f"… {error}"`',
    4: "one session kept in a `Scenario` object",
    5: "the method calls the global `user_scenario`, not `self`",
    6: "`get_by_email` returns the result of `execute`",
    7: "the last snippet calls `get_user_by_email(email)`, which is not there, with no `db`",
    8: "`default=datetime.now()`",
    9: "`echo=True`",
    10: "`delete` never commits and says nothing",
    11: "`create` commits by itself",
    12: "`get_all` reads the whole table",
    13: "case-sensitive, nullable e-mail; unbounded strings",
    14: "`index=True` on the primary key, and beside `unique=True`",
    15: "`except NoResultFound` around `db.get`",
    16: '`raise Exception("… not initialized")`',
    17: "`create(**kwargs)` from `model_dump`",
    18: "hashing inside the coroutine",
    19: "`expire_on_commit` is lost in the second version",
    20: "the pool's size is its only setting",
    21: "`rollback` by hand inside `engine.begin()`",
    22: "no `update`",
    23: "`is_active=True` with a TODO for the confirmation",
    24: "a duplicate is a 400",
}


def page() -> str:
    """Give the whole page."""
    return "\n".join([HEAD, *_table()]) + "\n"


def _table() -> Iterator[str]:
    seen = _seen()
    proofs = _proofs()
    yield "| # | the sketch | what was seen | in denizen |\n|---|---|---|---|"
    for row, does in SKETCH.items():
        wrong = "<br>".join(f"({letters}) {words}" for words, letters in seen[row].items())
        holds = "<br>".join(f"{says} [`{name}`](../{file})" for says, name, file in proofs[row])
        yield f"| {row} | {does} | {wrong} | {holds} |"


def _seen() -> dict[int, dict[str, str]]:
    """Give by row what was seen, and in which of the sketches."""
    letters: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    contract: list[dict[str, Any]] = json.loads(FIGURES.read_text("utf-8"))["contract"]
    for one in contract:
        for letter, cell in one["found"].items():
            if not cell["holds"]:
                letters[one["row"]][cell["seen"]].add(letter)
    return {
        row: {words: ", ".join(sorted(found)) for words, found in seen.items()}
        for row, seen in letters.items()
    }


def _proofs() -> dict[int, list[tuple[str, str, str]]]:
    """Give by row the tests that are marked with it: their sentence, their name, their file."""
    found: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                says = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
                for row in _rows(node):
                    file = path.relative_to(ROOT).as_posix()
                    found[row].append((says.replace("|", "\\|"), node.name, file))
    return found


def _rows(test: ast.FunctionDef | ast.AsyncFunctionDef) -> list[int]:
    return [
        argument.value
        for decorator in test.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.sketch"
        for argument in decorator.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
    ]


if __name__ == "__main__":
    sys.stdout.write(page())
