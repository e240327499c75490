"""What mypy, pyright, ruff and our own lint say of many copies of styles, each tool run once.

Every copy stands under a name of its own, so that one run sees them all; what a tool says is kept
without line numbers, and two sayings are compared as multisets.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from styles.outer import STYLES

from bench.styles.copies import ROOT

Sayings = Mapping[str, Counter[str]]
_PATHS: Final = [str(ROOT / name) for name in ("src", "tests", "examples")]


def put_under(name: str, styles: Path, letter: str, folder: Path) -> None:
    """Copy one style of a copy to `folder/name`, where its modules import each other."""
    package = STYLES[letter]
    target = folder / name / package
    shutil.copytree(
        styles / package, target, ignore=shutil.ignore_patterns("__pycache__", "as_written.py")
    )
    shutil.copy(styles / "outer.py", folder / name / "outer.py")
    for path in (folder / name).rglob("*.py"):
        text = path.read_text("utf-8")
        for module in (package, "outer"):
            text = text.replace(f"styles.{module}", f"{name}.{module}")
        path.write_text(text, "utf-8")


def mypy(folder: Path) -> Sayings:
    """Ask mypy, as strictly as the project asks it."""
    settings = folder / "mypy.ini"
    settings.write_text(
        "[mypy]\nstrict = true\nexplicit_package_bases = true\nshow_error_codes = true\n"
        f"mypy_path = {':'.join([str(folder), *_PATHS])}\n"
        "[mypy-asyncpg.*,precis_i18n.*]\nignore_missing_imports = true\n",
        "utf-8",
    )
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    told = _run(sys.executable, "-m", "mypy", "--config-file=mypy.ini", *names, cwd=folder)
    lines = re.findall(r"^(\w+)/(\S+?):\d+: error: (.*)$", told, re.MULTILINE)
    return _gathered((name, f"{file}: {words}") for name, file, words in lines)


def pyright(folder: Path) -> Sayings:
    """Ask pyright, as the project asks it."""
    given = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pyright"]
    settings = {"extraPaths": [str(folder), *_PATHS], "typeCheckingMode": given["typeCheckingMode"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    told = _run(
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        f"--pythonpath={sys.executable}",
        cwd=folder,
    )
    return _gathered(
        _place(folder, one["file"], one["message"].splitlines()[0])
        for one in json.loads(told)["generalDiagnostics"]
        if one["severity"] == "error"
    )


def ruff(folder: Path) -> Sayings:
    """Ask ruff, with the project's rules and without its exceptions for single files."""
    own = ["denizen", *(path.name for path in folder.iterdir() if path.is_dir())]
    told = _run(
        *(sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=json"),
        f"--config=lint.isort.known-first-party = {json.dumps(own)}",
        f"--config={ROOT / 'pyproject.toml'}",
        "--config=lint.per-file-ignores = {}",
        ".",
        cwd=folder,
    )
    return _gathered(
        _place(folder, one["filename"], f"{one['code']} {one['message']}")
        for one in json.loads(told)
    )


def house(folder: Path) -> Sayings:
    """Ask our own lint."""
    told = _run(sys.executable, str(ROOT / "tests" / "house_rules.py"), str(folder), cwd=folder)
    lines = re.findall(r"^(\w+)/(\S+?):\d+: (.*)$", told, re.MULTILINE)
    return _gathered((name, f"{file}: {words}") for name, file, words in lines)


TOOLS: Final[dict[str, Callable[[Path], Sayings]]] = {
    "mypy": mypy,
    "pyright": pyright,
    "ruff": ruff,
    "house": house,
}


def _place(folder: Path, file: str, words: str) -> tuple[str, str]:
    name, *inner = Path(file).resolve().relative_to(folder.resolve()).parts
    return name, f"{'/'.join(inner)}: {words}"


def _gathered(lines: Any) -> Sayings:
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, words in lines:
        found[name][words.replace(name, "styles")] += 1
    return found


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(  # our own tools
        command, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode not in {0, 1}:
        raise RuntimeError(done.stderr or done.stdout)
    return done.stdout
