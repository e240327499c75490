"""mypy and pyright accept what is right and refuse what is wrong, line by line."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def _marked(name: str) -> set[int]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}


def _mypy(path: Path, cache: Path) -> set[int]:
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={cache}", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.findall(rf"{re.escape(path.name)}:(\d+): error", done.stdout)
    assert done.returncode in {0, 1}, done.stderr
    return {int(number) for number in found}


def _pyright(path: Path, folder: Path) -> set[int]:
    paths = [str(ROOT / name) for name in ("src", "tests", "examples")]
    shutil.copy(path, folder)
    config = {"include": [path.name], "exclude": [], "extraPaths": paths}
    (folder / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--project", str(folder)]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] == 1
    found = told["generalDiagnostics"]
    return {d["range"]["start"]["line"] + 1 for d in found if d["severity"] == "error"}


@pytest.mark.parametrize("name", ["accepted.py", "refused.py"])
def test_mypy_refuses_the_marked_lines_alone(name: str, tmp_path: Path) -> None:
    """Mypy in strict mode finds every planted mistake and nothing else."""
    assert _mypy(HERE / name, tmp_path / "cache") == _marked(name)


@pytest.mark.parametrize("name", ["accepted.py", "refused.py"])
def test_pyright_refuses_the_marked_lines_alone(name: str, tmp_path: Path) -> None:
    """Pyright finds every planted mistake and nothing else."""
    assert _pyright(HERE / name, tmp_path) == _marked(name)
