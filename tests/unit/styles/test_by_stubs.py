"""As much of each style as can be tested without a database, by stubs: every look finds the same.

By means that are handed in, as in `test_by_fakes.py`. Such a test tells which way a scenario goes
after an answer; whether the statement asks the right thing, a stub can't tell.
"""

import importlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import HTTPException
from sqlalchemy.exc import SQLAlchemyError
from styles.c_model_verbs.model import UserModel
from styles.c_model_verbs.scenarios import UserScenarios
from styles.d_functions import use_cases
from styles.d_functions.model import User as FunctionsUser
from styles.e_repository.model import User as RepositoryUser
from styles.e_repository.service import UserService
from styles.e_repository.sql import SqlWork
from styles.outer import NewEmail, NewUser

from denizen.db.errors import StaleVersionError, TakenError
from denizen.errors import NotFoundError
from standins import Alike, Hasher

HASHER: Any = Hasher()
ID = uuid.uuid4()
ANN = NewUser(email="ann@example.com", username="ann", password="a fine long passphrase")
NEW = NewEmail(email="new@example.com", version=1)
OLD = NewEmail(email="old@example.com", version=0)
COLUMNS: Any = {"email": "ann@example.com", "username": "ann", "hashed_password": "$argon2id$"}


def _ann(model: Callable[..., Any]) -> Any:
    user = model(**COLUMNS)
    user.version = 1
    return user


async def test_a_of_the_first_sketch_only_erasing_asks_what_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever looks an address up asks the global scenario, whatever session this one has."""
    monkeypatch.setenv("SKETCH_DATABASE_URL", "postgresql://nobody@/nothing")
    module: Any = importlib.import_module("styles.a_first_sketch.scenario")
    scenario = module.Scenario()

    scenario.db_session = Alike()
    assert await _status(scenario.delete_user(ID)) == 404
    scenario.db_session = Alike(object())
    await scenario.delete_user(ID)
    scenario.db_session = Alike(object(), error=SQLAlchemyError("x"))
    assert await _status(scenario.delete_user(ID)) == 422


async def test_b_each_scenario_goes_both_ways() -> None:
    """Of the second sketch everything but an exception that never comes."""
    models: Any = importlib.import_module("styles.b_second_sketch.models")
    scenario: Any = importlib.import_module("styles.b_second_sketch.scenario").Scenario
    ann = models.UserModel(**COLUMNS)

    assert await _status(scenario(Alike(ann)).create_user(ANN)) == 400
    assert (await scenario(Alike()).create_user(ANN)).email == "ann@example.com"
    assert await _status(scenario(Alike(ann)).change_email(ID, NEW)) == 400
    assert await _status(scenario(Alike()).change_email(ID, NEW)) == 404
    await scenario(Alike()).delete_user(ID)


async def test_c_each_scenario_goes_both_ways() -> None:
    """Taken and free, found and not found, newer and not."""
    ann = _ann(UserModel)
    found: Any = Alike(ann)
    nobody: Any = Alike()

    with pytest.raises(TakenError):
        await UserScenarios(found, HASHER).create_user(ANN)
    await UserScenarios(nobody, HASHER).create_user(ANN)
    with pytest.raises(StaleVersionError):
        await UserScenarios(found, HASHER).change_email(ID, OLD)
    assert await UserScenarios(found, HASHER).change_email(ID, NEW) is ann
    await UserScenarios(found, HASHER).delete_user(ID)
    await _is_nobody(UserScenarios(nobody, HASHER).change_email(ID, NEW))
    await _is_nobody(UserScenarios(nobody, HASHER).delete_user(ID))

    assert ann.email_key == "new@example.com"


async def test_d_each_use_case_goes_both_ways() -> None:
    """Taken and free, found and not found, newer and not."""
    ann = _ann(FunctionsUser)
    found: Any = Alike(ann)
    nobody: Any = Alike()

    with pytest.raises(TakenError):
        await use_cases.create_user(found, HASHER, ANN)
    await use_cases.create_user(nobody, HASHER, ANN)
    with pytest.raises(StaleVersionError):
        await use_cases.change_email(found, ID, OLD)
    assert await use_cases.change_email(found, ID, NEW) is ann
    await use_cases.delete_user(found, ID)
    await _is_nobody(use_cases.change_email(nobody, ID, NEW))
    await _is_nobody(use_cases.delete_user(nobody, ID))

    assert ann.email_key == "new@example.com"


async def test_e_each_use_case_goes_both_ways() -> None:
    """Taken and free, found and not found, newer and not."""
    ann = _ann(RepositoryUser)
    found = UserService(SqlWork(_manager(Alike(ann))).begin, HASHER)
    nobody = UserService(SqlWork(_manager(Alike())).begin, HASHER)

    with pytest.raises(TakenError):
        await found.create_user(ANN)
    await nobody.create_user(ANN)
    with pytest.raises(StaleVersionError):
        await found.change_email(ID, OLD)
    assert await found.change_email(ID, NEW) is ann
    await found.delete_user(ID)
    await _is_nobody(nobody.change_email(ID, NEW))
    await _is_nobody(nobody.delete_user(ID))

    assert ann.email_key == "new@example.com"


def _manager(stub: Alike) -> Any:
    return stub


async def _status(act: Awaitable[object]) -> int:
    with pytest.raises(HTTPException) as caught:
        await act
    return caught.value.status_code


async def _is_nobody(act: Awaitable[object]) -> None:
    with pytest.raises(NotFoundError):
        await act
