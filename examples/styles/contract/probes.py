"""How to reach the same thing in each style, for the checks that look inside.

The sketches are untyped and made to be imported anew, so they are imported by name.
"""

import contextlib
import importlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

from denizen.db import DBSessionManager
from denizen.db.model import insert_row
from styles.c_model_verbs.model import UserModel
from styles.c_model_verbs.queries import taken_fields as taken_c
from styles.c_model_verbs.scenarios import UserScenarios
from styles.d_functions import statements as functions
from styles.d_functions import use_cases
from styles.d_functions.model import User as FunctionsUser
from styles.e_repository.model import User as RepositoryUser
from styles.e_repository.service import UserService
from styles.e_repository.sql import SqlUnitOfWork, SqlWork
from styles.outer import NewUser

MakeUser = Callable[[NewUser], Awaitable[Any]]
COLUMNS: Final[dict[str, Any]] = {
    "email": "ann@example.com",
    "username": "ann",
    "hashed_password": "$argon2id$",
}


class NoHasher:
    """Stands where a hasher stands."""

    async def hash(self, _password: str) -> str:
        """Give something that looks like a hash."""
        return "$argon2id$"


class Instance:
    """A second instance of a style's scenarios."""

    def __init__(self, create_user: MakeUser) -> None:
        self.create_user = create_user


def _part(letter: str, name: str) -> Any:
    packages = {"a": "a_first_sketch", "b": "b_second_sketch"}
    return importlib.import_module(f"styles.{packages[letter]}.{name}")


@contextlib.asynccontextmanager
async def manager(letter: str, url: str) -> AsyncIterator[Any]:
    """Give a started manager: the second sketch's own, or `denizen.db`'s."""
    found: Any = _part("b", "manager").DBSessionManager() if letter == "b" else None
    found = found or DBSessionManager(url)
    found.init()
    yield found
    await found.close_connections()


@contextlib.asynccontextmanager
async def second_instance(
    letter: str, url: str
) -> AsyncIterator[tuple[Instance, Callable[[Engine], bool]]]:
    """Give another instance with means of its own, and how to know its engine."""
    if letter == "a":
        engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
        scenario = _part("a", "scenario").Scenario()
        scenario.db_session = async_sessionmaker(engine, expire_on_commit=False)()
        yield Instance(scenario.create_user), lambda heard: heard is engine.sync_engine
        await scenario.db_session.close()
        await engine.dispose()
        return
    async with manager(letter, url) as own:
        yield Instance(_create_user(letter, own)), lambda heard: _is_of(heard, own)


def _create_user(letter: str, own: Any) -> MakeUser:
    hasher: Any = NoHasher()
    if letter == "b":
        return _part("b", "scenario").Scenario(own).create_user  # type: ignore[no-any-return]
    if letter == "c":
        return UserScenarios(own, hasher).create_user
    if letter == "d":
        return lambda payload: use_cases.create_user(own, hasher, payload)
    return UserService(SqlWork(own).begin, hasher).create_user


def _is_of(heard: Engine, own: Any) -> bool:
    engine: AsyncEngine = own._orm_engine if hasattr(own, "_orm_engine") else own.engine  # noqa: SLF001  # the sketch shows its engine to nobody
    return heard.pool is engine.sync_engine.pool


async def look_up(letter: str, url: str, email: str) -> object:
    """Look an address up: in the second sketch with the line as it was written."""
    if letter == "a":
        return await _part("a", "scenario").user_scenario.get_user_by_email(email)
    async with manager(letter, url) as own, own.get_session() as db:
        if letter == "b":
            verb = _part("b", "as_written").Verbs.get_by_email.__func__
            found = await verb(_part("b", "models").UserModel, db, email)
        elif letter == "c":
            found = await taken_c(db, email, "nobody")
        elif letter == "d":
            found = await functions.taken_fields(db, email, "nobody")
        else:
            found = await SqlUnitOfWork(db).users.taken_fields(email, "nobody")
        return found


def create_user_as_written(letter: str) -> MakeUser | None:
    """Give the second sketch's scenario as it was written."""
    if letter != "b":
        return None
    scenario = _part("b", "as_written").Scenario()
    return scenario.create_user  # type: ignore[no-any-return]


async def delete_alone(letter: str, url: str, user_id: uuid.UUID) -> None:
    """Delete a user's row with the style's own verb, in a session that is opened for it."""
    async with manager(letter, url) as own, own.get_session() as db:
        if letter == "b":
            await _part("b", "models").UserModel.delete(db, user_id)
        elif letter == "c":
            await UserModel.delete(db, user_id)
        elif letter == "d":
            await functions.delete_user_row(db, user_id)
        else:
            await SqlUnitOfWork(db).users.remove(user_id)


async def create_then_fail(letter: str, url: str) -> None:
    """Make a user with the style's own verb, then fail, all in one session."""
    with contextlib.suppress(ZeroDivisionError):
        async with manager(letter, url) as own, own.get_session() as db:
            await _create(letter, db)
            raise ZeroDivisionError


async def _create(letter: str, db: Any) -> Any:
    if letter == "b":
        return await _part("b", "models").UserModel.create(db, **COLUMNS)
    if letter == "c":
        return await UserModel.create(db, **COLUMNS)
    if letter == "d":
        return await insert_row(db, FunctionsUser(**COLUMNS))
    user = RepositoryUser(**COLUMNS)
    await SqlUnitOfWork(db).users.add(user)
    return user


async def error_reading_after_commit(letter: str, url: str) -> Exception | None:
    """Make a user, change an attribute, let it be committed, and read it."""
    if letter == "a":
        db = _part("a", "database").get_db_session()
        user = _part("a", "models").UserModel(**COLUMNS)
        db.add(user)
        await db.commit()
        await db.close()
        return _error_reading(user)
    async with manager(letter, url) as own:
        async with own.get_session() as db:
            user = await _create(letter, db)
            user.email = "moved@example.com"
            if letter == "b":  # its manager does not
                await db.commit()
            error = _error_reading(user)
        return error or _error_reading(user)


def _error_reading(user: Any) -> Exception | None:
    try:
        _ = (user.email, user.username)
    except Exception as error:  # noqa: BLE001  # which one is what is asked
        return error
    return None


def three_hundred_users(letter: str) -> str:
    """Give the statement that makes them."""
    more = {"b": ("", ""), "c": (", email_key, version, is_active", ", 'u' || n, 1, true")}[letter]
    return (
        f"INSERT INTO users (id, email, username, hashed_password{more[0]}) "
        f"SELECT gen_random_uuid(), 'u' || n, 'u' || n, ''{more[1]} FROM generate_series(1, 300) n"
    )


async def count_of_all(letter: str, url: str) -> int:
    """Read "all" users once and count what came."""
    model = _part("b", "models").UserModel if letter == "b" else UserModel
    async with manager(letter, url) as own, own.get_session() as db:
        return len(await model.get_all(db))


async def error_before_init(letter: str, url: str) -> Exception:
    """Use a manager that was not started."""
    own: Any = _part("b", "manager").DBSessionManager() if letter == "b" else None
    own = own or DBSessionManager(url)
    try:
        async with own.get_session():
            pass
    except Exception as error:  # noqa: BLE001  # which one is what is asked
        return error
    raise RuntimeError("it works all the same")
