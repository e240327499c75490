"""The process that reads a stranger's file: what it is told of the service."""

import sys
from datetime import UTC, datetime

import pytest

from denizen.imports import process
from denizen.imports.files import Layout
from denizen.imports.reader import Job
from denizen.imports.recipes import Plan
from denizen.imports.rows import RowRules

# reads its job, and answers with the names of what it was given
_TELL = 'import os, sys; sys.stdin.read(); print(\'{"defect": "%s"}\' % " ".join(os.environ))'
JOB = Job(
    path="users.csv",
    layout=Layout("csv", "utf-8", ("email",)),
    plan=Plan("denizen", {"email": 0}),
    rules=RowRules(now=datetime(2026, 1, 1, tzinfo=UTC), is_verified=False, is_csv=True),
)


async def test_process_knows_no_secret_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a setting nor what others look for in an environment; the way to its code, yes."""
    for name in ("DENIZEN_DATABASE_URL", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "LC_TEST"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", _TELL))

    async with process.reading(JOB) as take:
        with pytest.raises(RuntimeError) as told:
            await take()

    names = set(str(told.value).split())
    assert {"PYTHONPATH", "LC_TEST"} <= names
    assert not names & {"DENIZEN_DATABASE_URL", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY"}
