"""The way from (c) to (e) on a slice of denizen's own: done once, on its users, and measured.

python -m bench.styles.slice    writes docs/decisions/0001-slice.json

`slice.patch` turns `users/` as it was in the commit `BASE` into a service over repositories. Nobody
keeps it up to date with `users/`: the figures are those of that commit, which is taken out of the
repository, patched, tested and timed.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from bench.styles.branches import count_in, covered_by, reached_in
from bench.styles.copies import ROOT, numstat

BASE: Final = "16db2c1a2bb0892a54dd54812253087b100b9659"
PATCH: Final = Path(__file__).with_name("slice.patch")
OUT: Final = ROOT / "docs" / "decisions" / "0001-slice.json"
SCENARIOS: Final = Path("src/denizen/users/scenarios.py")
BEFORE: Final = SCENARIOS.with_name("scenarios_before.py")
FAKES: Final = Path("tests/unit/users/test_scenarios.py")
# what asks the users for anything, as it stands in that commit
TESTS: Final = tuple(
    f"tests/{name}"
    for name in (
        "unit/users", "integration/users", "integration/host", "integration/idempotency",
        "integration/test_sketch.py", "integration/emails", "contract/test_roles.py",
    )
)  # fmt: skip


def main() -> None:
    """Measure and tell."""
    with tempfile.TemporaryDirectory(prefix="styles-slice-") as temporary:
        folder = Path(temporary)
        _take_out(folder)
        figures = {
            "base": BASE,
            "files": sizes(),
            "tests": _tested(folder),
            "branches": _branches(folder),
            **json.loads(_run(folder, "-m", "bench.styles.slice_wire")),
        }
    OUT.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    print(OUT.read_text("utf-8"))


def sizes() -> dict[str, Any]:
    """Give what the patch touches: of the package, and of the tests, which only gain."""
    touched = numstat(PATCH)
    return {
        kind: {
            "files": len(files),
            "added": sum(file.added for file in files),
            "deleted": sum(file.deleted for file in files),
        }
        for kind in ("src", "tests")
        for files in [[file for file in touched if file.file.startswith(kind)]]
    }


def _take_out(folder: Path) -> None:
    """Put that commit into a folder, the scenarios as they were beside them, and patch it."""
    archive = subprocess.run(["git", "archive", BASE], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "-x"], cwd=folder, check=True, input=archive.stdout)
    (folder / BEFORE).write_text((folder / SCENARIOS).read_text("utf-8"), "utf-8")
    subprocess.run(["git", "apply", str(PATCH)], cwd=folder, check=True)


def _tested(folder: Path) -> dict[str, int]:
    """Run that commit's own tests of the users, unchanged, and those that the patch brings."""
    told = _run(folder, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTS)
    (passed, seconds) = re.findall(r"(\d+) passed[^\n]* in (\d+)", told)[-1]
    brought = (folder / FAKES).read_text("utf-8").count("async def test_")
    return {"passed": int(passed), "brought": brought, "seconds": int(seconds)}


def _branches(folder: Path) -> dict[str, int]:
    tests = ["-q", "-p", "no:cacheprovider", str(folder / FAKES)]
    covered = covered_by(tests, folder / "src" / "denizen" / "users", folder, _environment(folder))
    path = folder / SCENARIOS
    return {"branches": count_in(path), "fakes": reached_in(path, covered, folder)}


def _run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder if "pytest" in words else ROOT,
        env=_environment(folder),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def _environment(folder: Path) -> dict[str, str]:
    paths = [str(folder / name) for name in ("src", "tests", "examples")]
    return os.environ | {"PYTHONPATH": os.pathsep.join([*paths, str(ROOT)])}


if __name__ == "__main__":
    main()
