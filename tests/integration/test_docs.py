"""The documentation says what the code does."""

import re
import subprocess
import sys
from pathlib import Path

from starlette.routing import Route

from denizen.app import create_app
from denizen.http.problems import PROBLEMS
from denizen.settings import Settings

ROOT = Path(__file__).parents[2]


def test_reference_is_what_the_code_says() -> None:
    """`docs/reference.md` is what `docs/generate.py` writes."""
    made = subprocess.run(
        [sys.executable, "docs/generate.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == made.stdout


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
