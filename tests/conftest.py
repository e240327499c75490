"""Fixtures for everything above the data layer: a migrated database, the app, and people in it."""

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from hypothesis.configuration import set_hypothesis_home_dir
from pydantic import SecretStr

from denizen.app import Denizen, create_app
from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases, Schema, copy_of
from denizen.migrations import migrate
from denizen.passwords import hasher
from denizen.passwords.hasher import Argon2Parameters
from denizen.settings import Settings
from denizen.users.model import UserModel
from distribution import Watch
from mailserver import Mailbox, mail_server
from post import Post
from support import PASSWORD, Api, StatementCounter, an_admin

# services and commands that the tests start read their bytecode, as installed ones do
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# hypothesis keeps tables and constants on disk; not in the working directory
_HOME = tempfile.TemporaryDirectory(prefix="hypothesis-")
atexit.register(_HOME.cleanup)
set_hypothesis_home_dir(_HOME.name)


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


_watch = Watch()


@pytest.fixture(scope="session", autouse=True)
def _watched() -> Iterator[None]:
    with _watch.watching():
        yield


@pytest.fixture(autouse=True)
def watch(_watched: None) -> Iterator[Watch]:
    """Look at every statement of every test: none may need more than one shard of a cluster."""
    _watch.problems.clear()
    yield _watch
    assert _watch.problems == []


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
async def blank(server: Databases) -> AsyncIterator[Databases]:
    """Give a database with nothing in it, which no other test has seen."""
    async with copy_of(server, "template0") as found:
        yield found


def _light() -> Argon2Parameters:
    """Give a cost far below what the class takes."""
    found = object.__new__(Argon2Parameters)
    for name, value in {"memory": 64, "passes": 1, "lanes": 1}.items():
        object.__setattr__(found, name, value)
    return found


@pytest.fixture(autouse=True)
def hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let argon2 cost nothing in tests of the app, which sign in ten thousand times.

    What needs its cost, or the time that it takes, is marked `full_hashes`; services in processes
    of their own have hashes of full cost anyway.
    """
    is_full = request.node.get_closest_marker("full_hashes") is not None
    if "settings" in request.fixturenames and not is_full:
        monkeypatch.setattr(hasher, "Argon2Parameters", _light)


@pytest.fixture
def settings(databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Give settings that no environment reaches, for this test's database."""
    for name in list(Settings.model_fields):
        monkeypatch.delenv(f"DENIZEN_{name.upper()}", raising=False)
    return Settings.load(
        database_url=SecretStr(databases.app_url),
        migrate_url=SecretStr(databases.owner_url),
        data_dir=tmp_path / "data",
        workers=1,
        _env_file=None,
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Give the service's app, open for work; mails wait for a test to send them."""
    found = create_app(settings)
    await found.state.denizen.start()
    yield found
    await found.state.denizen.stop()


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


@pytest.fixture
def post(denizen: Denizen[UserModel], settings: Settings) -> Post:
    """Deliver mails into the folder, and read them."""
    return Post(denizen, settings.mail_folder)


@pytest.fixture
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    """Run an SMTP server with STARTTLS and a login; `mailserver` tells how to reach it."""
    with mail_server(tmp_path_factory.mktemp("mailbox")) as running:
        yield running
