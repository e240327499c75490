"""A cancel that arrives at BEGIN, COMMIT or ROLLBACK: told, and nothing of it stays behind."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Integer, literal_column, select, text

from denizen.db.direct import CompiledStatement
from denizen.db.engine import DatabaseSettings, Pooler, _Connection
from denizen.db.errors import UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases, superuser
from denizen.db.unit import Db

# what the server does when a cancel arrives while it carries out a statement
CANCELLED = "DO $$ BEGIN RAISE query_canceled; END $$"
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
ONE = select(literal_column("1", Integer).label("one"))
Use = Callable[[DBSessionManager], Awaitable[object]]


class _DefectError(Exception):
    pass


async def _write(manager: DBSessionManager) -> None:
    await manager.run(_touch)


async def _fail(manager: DBSessionManager) -> None:
    async with manager.get_session() as db:
        await _touch(db)
        raise _DefectError


async def _fail_in_core(manager: DBSessionManager) -> None:
    async with manager.make_connection() as connection:
        await connection.execute(text("SELECT 1"))
        raise _DefectError


async def _read(manager: DBSessionManager) -> None:
    await manager.run(_touch, read_only=True)


async def _read_directly(manager: DBSessionManager) -> None:
    await manager.fetch_row(CompiledStatement(ONE, manager.engine.dialect))


async def _touch(db: Db) -> None:
    await db.execute(text("SELECT 1"))


@pytest.fixture
def pooler() -> Pooler:
    """Say what stands between."""
    return "none"


@pytest.fixture
async def manager(databases: Databases, pooler: Pooler) -> AsyncIterator[DBSessionManager]:
    """Give a manager with one connection, which whoever comes next gets; it has been used."""
    settings = DatabaseSettings(url=databases.app_url, pool_size=1, pooler=pooler)
    found = DBSessionManager(settings)
    found.init()
    await _write(found)
    yield found
    await found.close_connections()


@contextlib.contextmanager
def _cancelled(monkeypatch: pytest.MonkeyPatch, word: str) -> Iterator[None]:
    """Have PostgreSQL cancel each statement of that word; what is sent along with it comes later.

    Behind a pooler the limits come with BEGIN, and it is they that are cancelled.
    """
    execute = _Connection.execute

    async def sent(self: _Connection, query: str, *args: object, **options: Any) -> str:
        if query.startswith(word):
            begun, _, along = query.partition(";")
            query = f"{begun};{CANCELLED}" if along else CANCELLED
        return await execute(self, query, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(_Connection, "execute", sent)
        yield


@pytest.mark.parametrize(
    ("word", "use", "pooler"),
    [
        ("BEGIN", _write, "none"),
        ("BEGIN", _write, "transaction"),
        ("COMMIT;", _write, "none"),
        ("ROLLBACK;", _fail, "none"),
        ("ROLLBACK;", _fail_in_core, "none"),
    ],
)
async def test_cancelled_word_leaves_no_transaction_for_whoever_comes_next(
    manager: DBSessionManager,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
    use: Use,
) -> None:
    """Told as not applied, or as what failed before; no connection is left, and the next works."""
    for then in (_write, _read, _read_directly):
        with _cancelled(monkeypatch, word), pytest.raises(Exception) as caught:  # noqa: PT011  # which one is compared
            await use(manager)

        assert type(caught.value) is (_DefectError if word == "ROLLBACK;" else UnavailableError)
        assert manager.pool.in_use == 0
        async with superuser(databases.superuser_url) as watcher:
            assert await watcher.fetchval(OPEN) == 0
        await then(manager)
        await _write(manager)
