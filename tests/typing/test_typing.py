"""mypy and pyright accept what is right and refuse what is wrong, line by line."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def _marked(name: str) -> set[int]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}


NAMES = ("accepted.py", "refused.py")
MARKED = {name: _marked(name) for name in NAMES}


def test_mypy_refuses_the_marked_lines_alone(tmp_path: Path) -> None:
    """Mypy in strict mode finds every planted mistake and nothing else."""
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}"]
    command += [str(HERE / name) for name in NAMES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    found = {
        name: {int(n) for n in re.findall(rf"{re.escape(name)}:(\d+): error", done.stdout)}
        for name in NAMES
    }

    assert found == MARKED
    assert found["accepted.py"] == set() != found["refused.py"]


def test_pyright_refuses_the_marked_lines_alone(tmp_path: Path) -> None:
    """Pyright finds every planted mistake and nothing else."""
    paths = [str(ROOT / name) for name in ("src", "tests", "examples")]
    for name in NAMES:
        shutil.copy(HERE / name, tmp_path)
    config = {"include": NAMES, "exclude": [], "extraPaths": paths}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--project", str(tmp_path)]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] == len(NAMES)
    found: dict[str, set[int]] = {name: set() for name in NAMES}
    for one in told["generalDiagnostics"]:
        if one["severity"] == "error":
            found[Path(one["file"]).name].add(one["range"]["start"]["line"] + 1)

    assert found == MARKED
