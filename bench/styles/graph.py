"""Who imports whom, and what a model reaches."""

import ast
from pathlib import Path
from typing import Any, Final

import grimp
from styles.outer import STYLES

MODELS: Final = {"a": "models", "b": "models", "c": "model", "d": "model", "e": "model"}
SESSION: Final = "sqlalchemy.ext.asyncio"
ENGINE: Final = "create_async_engine"


def graphs() -> dict[str, Any]:
    """Give fan-in, cycles, and whether the model reaches a session or an engine."""
    graph = grimp.build_graph("styles", "denizen", cache_dir=None)
    return {letter: _of(graph, letter) for letter in STYLES}


def _of(graph: grimp.ImportGraph, letter: str) -> dict[str, Any]:
    package = f"styles.{STYLES[letter]}"
    model = f"{package}.{MODELS[letter]}"
    inside = {m for m in graph.modules if m.startswith(f"{package}.") and "as_written" not in m}
    importers = graph.find_modules_that_directly_import(model) & inside
    in_cycles = [m for m in inside if _is_in_a_cycle(graph, m)]
    reached = {model, *graph.find_upstream_modules(model)}
    return {
        "modules": len(inside),
        "fan_in": len(importers),
        "cycles": len(in_cycles),
        "session": any(SESSION in _imported(module) for module in reached),
        "engine": any(f"{SESSION}.{ENGINE}" in _imported(module) for module in reached),
    }


def _is_in_a_cycle(graph: grimp.ImportGraph, module: str) -> bool:
    direct = graph.find_modules_directly_imported_by(module)
    return any(graph.chain_exists(importer=one, imported=module) for one in direct)


def _imported(module: str) -> set[str]:
    """Give the full names of what a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(_source(module).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def _source(module: str) -> Path:
    root = Path(__file__).parents[2]
    base = root / ("examples" if module.startswith("styles") else "src") / module.replace(".", "/")
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
