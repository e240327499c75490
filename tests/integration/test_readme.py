"""The README's snippets run as written, on a real database."""

import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from denizen.db import DBSessionManager
from denizen.db.testing import Databases
from processes import environment, serving

README = Path(__file__).parents[2] / "README.md"


def _snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


async def _run(code: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run a snippet that may await at its top level; give what it defined."""
    body = textwrap.indent(code, "    ")
    exec(f"async def snippet():\n{body}\n    return locals()", names)  # noqa: S102
    found: dict[str, Any] = await names["snippet"]()
    return names | found


def test_first_commands_make_an_admin_and_a_user(tmp_path: Path) -> None:
    """The commands of the start, on a running service; only port and programs are replaced."""
    if shutil.which("curl") is None:
        pytest.skip("the commands use curl")
    programs = {"python": sys.executable, "denizen": f"{sys.executable} -m denizen.cli"}
    with serving(tmp_path / "data", "--dev") as service:
        service.until("/readyz", 200)
        code = _snippets("bash")[0].replace("127.0.0.1:8000", f"127.0.0.1:{service.port}")
        code = re.sub(r"\.venv/bin/(python|denizen)", lambda m: programs[m[1]], code)
        done = subprocess.run(
            ["sh", "-c", code],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environment(),
        )

    assert "HTTP/1.1 201" in done.stdout, done.stderr
    assert '"email":"ann@example.com"' in done.stdout


async def test_snippets_of_the_host_app_run(databases: Databases) -> None:
    """The mount and the joined scenario work as shown; only the URL is replaced."""
    mount, joined = _snippets("python")[:2]
    url = databases.owner_url.replace("postgresql://", "postgresql+asyncpg://")
    # the model's annotations are read where the class is: at the top of a module
    names: dict[str, Any] = {"__name__": "readme"}
    exec(mount.replace("postgresql+asyncpg:///host", url), names)  # noqa: S102
    engine: AsyncEngine = names["engine"]
    async with engine.begin() as connection:
        await connection.run_sync(names["Base"].metadata.create_all)
    exec("from sqlalchemy.ext.asyncio import AsyncSession", names)  # noqa: S102
    async with names["app"].router.lifespan_context(names["app"]):
        company = names["Member"](email="co@example.com", username="company")
        found = await _run(joined, names | {"company": company})
        assert found["member"].username == "ann"
    await engine.dispose()


@pytest.mark.sketch(7)
async def test_snippet_of_the_data_layer_runs(databases: Databases) -> None:
    """A table of one's own, a unit of work and a page, as shown."""
    code = _snippets("python")[2]
    code = code.replace("postgresql://me@localhost/notes", databases.owner_url)
    head = "import uuid\nfrom sqlalchemy import String\n"
    head += "from sqlalchemy.orm import Mapped, mapped_column\n"
    definitions, _, steps = code.partition("\n\n\nmanager =")
    names: dict[str, Any] = {"__name__": "readme_notes"}
    exec(head + definitions, names)  # noqa: S102
    setup = DBSessionManager(databases.owner_url)
    setup.init()
    async with setup.make_connection() as connection:
        await connection.run_sync(names["Note"].__table__.create)
    await setup.close_connections()

    found = await _run("manager =" + steps, names)

    assert [note.title for note in found["page"]] == ["first"]


def test_commands_of_the_readme_exist() -> None:
    """Every `make` target and every subcommand that the README names is there."""
    text = README.read_text(encoding="utf-8")
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^make ([a-z]+)", text, re.MULTILINE))

    assert targets >= {"test", "check", "bench"}
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_data_folder_with_a_blank_stays_one_word() -> None:
    """`DATA_DIR=` takes any path."""
    words = ["make", "--no-print-directory", "--dry-run", "serve", "DATA_DIR=my data", "PORT=8123"]
    told = subprocess.run(words, capture_output=True, text=True, check=True, cwd=README.parent)

    assert shlex.split(told.stdout.splitlines()[-1])[-4:] == [
        "--port", "8123", "--data-dir", "my data",
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(4))
def test_snippets_are_complete_programs(number: int) -> None:
    """Each Python snippet compiles."""
    code = _snippets("python")[number]
    compile(f"async def snippet():\n{textwrap.indent(code, '    ')}", "readme", "exec")
