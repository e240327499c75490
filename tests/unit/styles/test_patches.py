"""The patches whose size is counted fit the styles, and the way out leads where it says."""

import ast
import importlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.styles.catching import KINDS, planted_in
from bench.styles.copies import (
    CHANGES,
    NEW_SCENARIO,
    SOURCE,
    copy_styles,
    folder_of,
    mistakes,
    patches_of,
)
from bench.styles.leaving import walk
from styles.outer import STYLES, NewEmail, NewUser

from denizen.db.errors import TakenError
from denizen.errors import NotFoundError
from standins import Hasher, Memory

# (c)'s names, and what (e) calls the same
RENAMED = {
    "UserModel": "User",
    "AuditModel": "AuditEvent",
    "SessionModel": "Session",
    "UserScenarios": "UserService",
    "c_model_verbs": "e_repository",
}


def test_every_patch_fits(tmp_path: Path) -> None:
    """Changes and mistakes apply to the styles as they are; each mistake is planted somewhere."""
    copy = copy_styles(tmp_path) / "styles"
    changes = [
        patches_of(change, letter) for change in (*CHANGES, NEW_SCENARIO) for letter in STYLES
    ]
    planted = [[patch] for kind in KINDS for patch in mistakes(kind)]

    for patches in (*changes, *planted):
        command = ["git", "apply", "--check", *map(str, patches)]
        subprocess.run(
            command, cwd=copy, check=True, env={"GIT_CEILING_DIRECTORIES": str(tmp_path)}
        )
    for patch in (patch for patches in planted for patch in patches):
        assert set("cde") <= set(planted_in(patch)), patch.name


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """Go all steps from (c) to (e); give the package's name and its copy."""
    *_, last = walk(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield last
    for name in [name for name in sys.modules if name.split(".")[0] == last[0].split(".")[0]]:
        del sys.modules[name]


async def test_after_the_last_step_a_fake_is_enough(left: tuple[str, Path]) -> None:
    """What (c) can't be asked without a database, its successor can."""
    service: Any = importlib.import_module(f"{left[0]}.scenarios")
    memory = Memory()
    users = service.UserScenarios(memory.begin, Hasher())
    ann = NewUser(email="ann@example.com", username="ann", password="a fine long passphrase")

    user = await users.create_user(ann)
    with pytest.raises(TakenError):
        await users.create_user(ann)
    await users.change_email(user.id, NewEmail(email="new@example.com", version=1))
    await users.delete_user(user.id)
    with pytest.raises(NotFoundError):
        await users.change_email(uuid.uuid4(), NewEmail(email="new@example.com"))

    assert memory.events == [("user.erased", user.id)]


def test_after_the_last_step_the_service_is_that_of_the_repositories(
    left: tuple[str, Path],
) -> None:
    """But for names, the steps lead to (e): the same service, the same ports."""
    came = folder_of("c", left[1] / "styles")
    meant = folder_of("e", SOURCE)
    for mine, theirs in (("scenarios.py", "service.py"), ("ports.py", "ports.py")):
        text = (came / mine).read_text("utf-8")
        for old, new in RENAMED.items():
            text = text.replace(old, new)
        assert _code(text) == _code((meant / theirs).read_text("utf-8")), mine


def _code(text: str) -> str:
    """Give the code without the module's docstring."""
    return ast.unparse(ast.Module(ast.parse(text).body[1:], []))
