"""Rules of the house that no linter knows."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import denizen
import house_rules
from denizen.db.model import Verbs

SOURCE = Path(denizen.__file__).parent
EXAMPLES = Path(__file__).parents[2] / "examples"
TREES = {p: ast.parse(p.read_text("utf-8")) for p in SOURCE.rglob("*.py")}
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def _nodes(kind: type[ast.AST]) -> Iterator[tuple[Path, ast.AST]]:
    for path, tree in TREES.items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, kind))


@pytest.mark.sketch(11)
def test_nothing_ends_or_opens_a_transaction_outside_the_data_layer() -> None:
    """`.commit()`, `.rollback()`, sessions and engines stand in `db/` alone."""
    assert house_rules.check(SOURCE) == []
    for style in ("c_model_verbs", "d_functions", "e_repository"):
        assert house_rules.check(EXAMPLES / "styles" / style) == []


def test_verbs_stand_in_one_base_alone() -> None:
    """No model but the base has a verb: there is no copy that could go its own way."""
    verbs = {name for name, verb in vars(Verbs).items() if isinstance(verb, classmethod)}
    models = {path: tree for path, tree in TREES.items() if path.name == "model.py"}
    copies = {
        f"{path.relative_to(SOURCE).as_posix()}:{name}"
        for path, node in _methods(models)
        for name in {node.name} & verbs
    }

    assert copies == {f"db/model.py:{name}" for name in verbs}


def test_whatever_awaits_in_a_model_takes_the_unit() -> None:
    """What a model asks the database, it asks through the `db` that it was handed."""
    models = {path: tree for path, tree in TREES.items() if path.name == "model.py"}
    asking = [node for _, node in _methods(models) if isinstance(node, ast.AsyncFunctionDef)]

    assert asking
    for node in asking:
        _itself, first, *_ = node.args.args
        assert first.annotation is not None, node.name
        assert (first.arg, ast.unparse(first.annotation)) == ("db", "Db"), node.name


def _methods(trees: dict[Path, ast.Module]) -> Iterator[tuple[Path, FUNCTIONS]]:
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield from ((path, inner) for inner in node.body if isinstance(inner, FUNCTIONS))


def test_functions_and_modules_stay_readable() -> None:
    """No function above 60 lines, no module above 500."""
    long_functions = [
        f"{path.name}:{node.name}"
        for path, node in _nodes(ast.AST)
        if isinstance(node, FUNCTIONS) and (node.end_lineno or 0) - node.lineno >= 60
    ]
    long_modules = [p.name for p in TREES if len(p.read_text("utf-8").splitlines()) > 500]

    assert (long_functions, long_modules) == ([], [])


def test_texts_for_the_database_are_never_put_together_from_input() -> None:
    """`text(f"…")` is for migrations' own names alone (T-SQL-1)."""
    found = [
        str(path.relative_to(SOURCE))
        for path, node in _nodes(ast.Call)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "text"
        and any(isinstance(argument, ast.JoinedStr) for argument in node.args)
    ]

    assert set(found) <= {"migrations/__init__.py"}


def test_secrets_come_from_one_door() -> None:
    """`secrets` and `random` are used where they belong, and `uuid4` for no secret (11.5.1)."""
    uses = {
        (path.relative_to(SOURCE).as_posix(), name)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in (alias.name for alias in node.names)
        if name in {"random", "secrets"}
    }

    assert uses == {
        ("secret.py", "secrets"),
        ("passwords/hasher.py", "secrets"),
        ("db/testing.py", "secrets"),
        ("db/retry.py", "random"),
    }


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        # what is mounted into a host's app needs nothing of the extra `server`
        ("denizen.app", ["babel", "granian", "prometheus_client", "rich", "typer"]),
        # no web framework for a command that ends at once, nor for whoever wants the data layer
        ("denizen.cli.commands", ["fastapi", "starlette", "granian", "prometheus_client"]),
        ("denizen; denizen.DBSessionManager; denizen.UserModel", ["fastapi", "starlette"]),
    ],
)
def test_what_is_not_needed_is_not_loaded(modules: str, heavy: list[str]) -> None:
    """Each takes a tenth of a second or more, and the extra may not be installed."""
    code = f"import sys; import {modules}; print(sorted(set(sys.argv[1:]) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
