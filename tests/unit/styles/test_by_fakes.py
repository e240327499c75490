"""As much of each style as can be tested without a database, by fakes: stand-ins that hold state.

By means that are handed in (a constructor, a parameter, an attribute), never by patching a module.
`make styles` counts the branches that these tests reach. (c) and (d) have none: each of their
scenarios says SQL, which no fake reads; `test_by_stubs.py` is what they have instead.
"""

import importlib
import uuid
from typing import Any

import pytest
from fastapi import HTTPException
from styles.e_repository.service import UserService
from styles.outer import NewEmail, NewUser

from denizen.db.errors import StaleVersionError, TakenError
from denizen.errors import NotFoundError
from standins import Hasher, Memory, Rows

NOBODY = uuid.uuid4()
NEW = NewEmail(email="new@example.com", version=1)


def _payload(name: str) -> NewUser:
    return NewUser(email=f"{name}@example.com", username=name, password="a fine long passphrase")


async def test_a_erasing_nobody_is_404(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first sketch makes its session itself; it can be taken away again."""
    monkeypatch.setenv("SKETCH_DATABASE_URL", "postgresql://nobody@/nothing")
    scenario = importlib.import_module("styles.a_first_sketch.scenario").Scenario()
    scenario.db_session = Rows()

    with pytest.raises(HTTPException) as caught:
        await scenario.delete_user(NOBODY)

    assert caught.value.status_code == 404


async def test_b_row_is_found_by_its_key() -> None:
    """Of the second sketch one verb knows no SQL; every scenario begins with another."""
    models: Any = importlib.import_module("styles.b_second_sketch.models")

    assert await models.UserModel.get_by_id(Rows(), NOBODY) is None


async def test_e_account_lives_and_ends() -> None:
    """Signed up, refused twice, moved, refused over a newer version, erased, gone."""
    memory = Memory()
    service = UserService(memory.begin, Hasher())

    user = await service.create_user(_payload("ann"))
    with pytest.raises(TakenError):
        await service.create_user(_payload("ann"))
    memory.signed_in.add(user.id)
    await service.change_email(user.id, NEW)
    with pytest.raises(StaleVersionError):
        await service.change_email(user.id, NEW)
    await service.delete_user(user.id)
    with pytest.raises(NotFoundError):
        await service.delete_user(user.id)
    with pytest.raises(NotFoundError):
        await service.change_email(NOBODY, NEW)

    assert (memory.rows, memory.signed_in) == ({}, set())
    assert memory.events == [("user.erased", user.id)]
