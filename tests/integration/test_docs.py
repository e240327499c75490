"""The documentation says what the code does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.routing import Route

from denizen.app import create_app
from denizen.http.problems import PROBLEMS
from denizen.imports.model import REASONS
from denizen.imports.recipes import RECIPES
from denizen.imports.schemas import ImportOptions
from denizen.settings import Settings
from pooling import PROGRAM, Pooler, pooled

ROOT = Path(__file__).parents[2]


def test_reference_is_what_the_code_says() -> None:
    """`docs/reference.md` is what `docs/generate.py` writes."""
    made = subprocess.run(
        [sys.executable, "docs/generate.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == made.stdout


def test_sketch_is_what_its_tests_say() -> None:
    """`docs/sketch.md` is what `docs/sketch.py` writes, and every row of it has a proof."""
    made = subprocess.run(
        [sys.executable, "docs/sketch.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert (ROOT / "docs" / "sketch.md").read_text(encoding="utf-8") == made.stdout
    rows = [line.split(" | ") for line in made.stdout.splitlines() if re.match(r"\| \d", line)]
    assert [int(row[0].strip("| ")) for row in rows] == list(range(1, 25))
    assert all("test_" in row[-1] and row[2] for row in rows)


def test_faults_are_what_was_measured() -> None:
    """`docs/faults.md` is what `docs/faults.py` writes: every row holds, controls were found."""
    made = subprocess.run(
        [sys.executable, "docs/faults.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    measured = json.loads((ROOT / "docs" / "faults.json").read_text(encoding="utf-8"))
    rows = {one["row"] for one in measured if not one["is_control"]}
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests/faults").glob("test_*.py"))
    controls = [one for one in measured if one["is_control"]]

    assert (ROOT / "docs" / "faults.md").read_text(encoding="utf-8") == made.stdout
    assert rows >= set(re.findall(r'"(F\d+)"', tests))
    assert all(one["is_green"] for one in measured if not one["is_control"])
    assert len(controls) >= 4
    assert all(one["found"] and not one["is_green"] for one in controls)


def test_speed_is_what_was_measured() -> None:
    """`docs/speed.md` is what `docs/speed.py` writes of the figures beside it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    made = subprocess.run(
        [sys.executable, "docs/speed.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert (ROOT / "docs" / "speed.md").read_text(encoding="utf-8") == made.stdout
    assert (ROOT / "docs" / "speed.svg").is_file()


def test_every_page_is_in_the_docs(settings: Settings) -> None:
    """Each path that `docs/pages.md` lists is there, and each that is there is listed."""
    listed = re.findall(r"`(/[^`?]*)`", (ROOT / "docs" / "pages.md").read_text(encoding="utf-8"))
    app = create_app(settings, is_dev=True)
    pages = {
        route.path
        for route in app.routes
        if type(route).__module__.startswith("denizen.pages")
        and isinstance(route, Route)
        and not route.path.startswith("/assets/")
    }

    assert pages == set(listed) - {"/v1"}


def test_every_error_is_produced_by_some_test() -> None:
    """Each class in the table of errors is named, or its code is, by a test."""
    tests = ROOT / "tests"
    text = "".join(p.read_text("utf-8") for p in tests.rglob("test_*.py") if "unit" not in p.parts)

    for kind in PROBLEMS:
        names = {kind.__name__, f'"{kind.code}"' if isinstance(kind.code, str) else kind.__name__}  # type: ignore[attr-defined]
        assert any(name in text for name in names), kind.__name__


def test_how_to_bring_users_along_tells_of_everything() -> None:
    """Every reason to refuse a row, every recipe, option and column stands there."""
    page = (ROOT / "docs" / "how-to" / "bring-your-users-along.md").read_text(encoding="utf-8")
    own = next(recipe for recipe in RECIPES if recipe.name == "denizen")
    told = {
        *(f"| `{code}` | {reason} |" for code, reason in REASONS.items()),
        *(f"`{column}`" for column in own.takes),
        *(name for name in ImportOptions.model_fields if name != "columns"),
    }
    recipes = {"fastapi-users", "Django", "Supabase", "Firebase", "denizen"}

    assert {one for one in told | recipes if one not in page} == set()
    assert {recipe.name for recipe in RECIPES} == {name.lower() for name in recipes}


@pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer on this machine")
def test_pgbouncer_starts_with_the_settings_shown() -> None:
    """A comment behind a value, for one, is part of the value, and keeps it from starting."""
    page = (ROOT / "docs" / "how-to" / "operate.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)

    with pooled(Pooler(shown)):
        pass
