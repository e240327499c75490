"""`users import` and `users export` as an operator runs them."""

import contextlib
import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import DENIZEN, command, environment, free_port, serving, wait_until_gone

HASH = "$2b$05$iMiDb7txSSmaZYxr53xgO.5vRFoy9uPr0234Ac5Zp16OPotdhSRaq"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a data folder that the commands of this module share."""
    found = tmp_path_factory.mktemp("bulk") / "data"
    yield found
    wait_until_gone(found)


def _file(folder: Path, name: str, content: str) -> str:
    path = folder.parent / name
    path.write_text(content, encoding="utf-8")
    return str(path)


def _json(done: "subprocess.CompletedProcess[str]", status: int = 0) -> Any:
    assert done.returncode == status, (done.returncode, done.stderr, done.stdout)
    return json.loads(done.stdout)


def _refused(done: "subprocess.CompletedProcess[str]", status: int) -> str:
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_users_go_out_and_come_in_again(tmp_path: Path) -> None:
    """Exported with hashes, imported elsewhere, exported again: the same file."""
    folder = tmp_path / "data"
    content = f"email,username,hashed_password\nann@example.com,ann,{HASH}\nb@example.com,=b,\n"
    told = _json(command(folder, "users", "import", _file(folder, "in.csv", content), "--json"))
    assert (told["state"], told["created"], told["report"]) == ("finished", 2, None)

    first, second = tmp_path / "out.csv", tmp_path / "again.csv"
    out = _json(command(folder, "users", "export", str(first), "--with-hashes", "--json"))
    assert (out["users"], HASH in first.read_text("utf-8")) == (2, True)
    other = tmp_path / "other"
    assert command(other, "users", "import", str(first)).returncode == 0
    assert command(other, "users", "export", str(second), "--with-hashes").returncode == 0
    wait_until_gone(tmp_path)

    assert sorted(second.read_text("utf-8").splitlines()) == sorted(
        first.read_text("utf-8").splitlines()
    )


def test_refused_rows_are_status_1_and_lie_in_a_report(folder: Path) -> None:
    """The others are taken; the report's path is told."""
    path = _file(folder, "mixed.csv", "email,username\nmixed@example.com,mixed\nx,y\n")
    told = _json(command(folder, "users", "import", path, "--json"), 1)
    shown = command(folder, "users", "import", path)

    assert (told["created"], told["refused"]) == (1, 1)
    assert "x,y" in Path(told["report"]).read_text("utf-8-sig")
    assert shown.returncode == 1
    assert "mixed.csv: 0 created, 0 updated, 1 skipped, 1 refused" in shown.stdout
    assert "what was refused, and why: " in shown.stdout


def test_dry_run_says_what_would_be(folder: Path) -> None:
    """And writes nothing; a conflict that is not wanted is status 1, in one line."""
    path = _file(folder, "dry.csv", "email,username\ndry@example.com,dry\n")
    shown = command(folder, "users", "import", path, "--dry-run")
    assert (shown.returncode, "1 would be created" in shown.stdout) == (0, True)
    assert command(folder, "users", "show", "dry").returncode == 1

    assert command(folder, "users", "import", path).returncode == 0
    line = _refused(command(folder, "users", "import", path, "--on-conflict", "fail"), 1)
    assert "nothing was imported" in line


def test_columns_are_mapped_and_ignored(folder: Path) -> None:
    """Unknown ones are named; what is said about them counts."""
    path = _file(folder, "mapped.csv", "mail;nick;age\nmapped@example.com;mapped;7\n")
    line = _refused(command(folder, "users", "import", path), 1)
    assert "mail, nick, age" in line

    said = ("--map", "mail=email", "--map", "nick=username", "--ignore", "age", "--verified")
    assert command(folder, "users", "import", path, *said).returncode == 0
    user = _json(command(folder, "users", "show", "mapped", "--json"))
    assert user["email_verified"] is True


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("import", "nowhere.csv"), 2, "nowhere.csv"),
        (("import", "."), 2, "directory"),
        (("import", "empty.csv", "--map", "x"), 2, "--map takes COLUMN=FIELD"),
        (("import", "empty.csv", "--map", "email=king"), 2, "--map takes COLUMN=FIELD"),
        (("import", "empty.csv", "--hash-config", "nowhere.txt"), 2, "nowhere.txt"),
        (("import", "empty.csv"), 1, "does not name the columns"),
        (("import", "broken.csv"), 1, "line 2"),
        (("export", "users.xlsx"), 2, ".csv or .jsonl"),
        (("export", "no/such/folder/users.csv"), 2, "No such file"),
    ],
)
def test_what_can_not_be_done_is_told_in_one_line(
    folder: Path, words: tuple[str, ...], status: int, said: str
) -> None:
    """Files that are not there are wrong usage; files that can't be read are refused."""
    _file(folder, "empty.csv", "")
    _file(folder, "broken.csv", 'email\n"canary@example.com\n')
    line = _refused(command(folder, "users", *words), status)

    assert said in line
    assert "canary" not in line


@pytest.mark.parametrize("verb", ["import", "export"])
def test_database_out_of_reach_is_3(folder: Path, verb: str) -> None:
    """And the line says that the same command goes on."""
    path = _file(folder, "reach.csv", "email\nreach@example.com\n")
    url = f"postgresql://me:canary@127.0.0.1:{free_port()}/db"
    line = _refused(command(folder, "users", verb, path, DENIZEN_DATABASE_URL=url), 3)

    assert "canary" not in line
    assert "goes on" in line


def test_they_work_while_the_service_runs(tmp_path: Path) -> None:
    """On the same database, at once."""
    folder = tmp_path / "data"
    with serving(folder, "--workers", "1") as service:
        service.until("/readyz", 200)
        path = _file(folder, "served.csv", "email,username\nserved@example.com,served\n")
        assert command(folder, "users", "import", path).returncode == 0
        out = tmp_path / "served.jsonl"
        assert command(folder, "users", "export", str(out)).returncode == 0
    wait_until_gone(folder)

    assert json.loads(out.read_text("utf-8"))["username"] == "served"


def test_terminal_shows_a_progress_bar(folder: Path) -> None:
    """How many of how many, and how fast; into a pipe nothing of it goes."""
    path = _file(folder, "bar.csv", "email\nbar@example.com\n")
    words = [*DENIZEN, "users", "import", path, "--data-dir", str(folder)]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment(TERM="xterm", COLUMNS="120"),
        text=True,
    )
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while piece := os.read(ours, 4096):
            written += piece
    os.close(ours)
    told, _ = process.communicate(timeout=60)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())

    assert "importing bar.csv" in shown
    assert "1/1" in shown
    assert "/s" in shown
    assert told == "bar.csv: 1 created, 0 updated, 0 skipped, 0 refused\n"
    assert process.returncode == 0
