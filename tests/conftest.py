"""Fixtures for everything above the data layer: a migrated database, the app, and people in it."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from denizen.app import Denizen, create_app
from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases, Schema
from denizen.migrations import migrate
from denizen.settings import Settings
from denizen.users.model import UserModel
from support import PASSWORD, Api, StatementCounter, an_admin


def pytest_configure(config: pytest.Config) -> None:
    """Keep temporary files inside the clone, each run's in a folder of its own."""
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        folder = config.rootpath / ".pytest_tmp"
        folder.mkdir(exist_ok=True)
        config.option.basetemp = str(folder / f"run-{os.getpid()}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    if not hasattr(config, "workerinput") and config.option.basetemp:
        folder = Path(config.option.basetemp)
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()


@pytest.fixture(scope="session")
def schema() -> Schema:
    """Fill the template with our migrations, as an operator would."""

    async def fill(_databases: Databases, owner_url: str) -> None:
        db = DBSessionManager(owner_url)
        db.init()
        await migrate(db, serving_role="denizen")
        await db.close_connections()

    return fill


@pytest.fixture
def settings(databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Give settings that no environment reaches, for this test's database."""
    for name in list(Settings.model_fields):
        monkeypatch.delenv(f"DENIZEN_{name.upper()}", raising=False)
    return Settings.load(
        database_url=SecretStr(databases.app_url),
        migrate_url=SecretStr(databases.owner_url),
        workers=1,
        data_dir=tmp_path / "data",
        _env_file=None,
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Give the service's app, open for work."""
    found = create_app(settings)
    async with found.router.lifespan_context(found):
        yield found


@pytest.fixture
def denizen(app: FastAPI) -> Denizen[UserModel]:
    """Give the part that the app is made of."""
    found: Denizen[UserModel] = app.state.denizen
    return found


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[Api]:
    """Give a client that is not signed in."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://denizen.test") as client:
        yield Api(client)


@pytest.fixture
async def admin(denizen: Denizen[UserModel], anonymous: Api) -> Api:
    """Give a client signed in as an admin."""
    user = await an_admin(denizen)
    return await anonymous.signed_in(user.email, PASSWORD)


@pytest.fixture
def statements(denizen: Denizen[UserModel]) -> StatementCounter:
    """Count what the app says to the database, transactions included."""
    return StatementCounter(denizen.db)
