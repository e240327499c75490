"""COPY in and out: in the caller's transaction, streaming, over either driver."""

import tracemalloc
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from denizen.db.bulk import copy_in, copy_out
from denizen.db.errors import ConstraintError
from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases

PAIRS = Table(
    "a pair", MetaData(), Column("number", Integer, primary_key=True), Column("word", String)
)
# as COPY's text form has them, and what they mean
WORDS: dict[str, str | None] = {
    "plain": "plain",
    r"tab\there": "tab\there",
    r"line\nbreak": "line\nbreak",
    r"back\\slash": "back\\slash",
    r"\\N": r"\N",
    "": "",
    "quo\"te'": "quo\"te'",
    "слово": "слово",
    r"\N": None,
}


@pytest.fixture(params=["asyncpg", "psycopg"])
async def db(databases: Databases, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Give a manager over either driver, and a table."""
    url = databases.owner_url.replace("postgresql://", f"postgresql+{request.param}://")
    engine = create_async_engine(url)
    manager = DBSessionManager(engine)
    manager.init()
    async with manager.make_connection() as connection:
        await connection.run_sync(PAIRS.metadata.create_all)
    yield manager
    await engine.dispose()


def _rows(words: Iterable[str]) -> bytes:
    return "".join(f"{number}\t{word}\n" for number, word in enumerate(words)).encode()


async def _read(db: DBSessionManager, statement: Any, form: Any) -> bytes:
    parts: list[bytes] = []

    async def keep(data: bytes) -> None:
        parts.append(data)

    async with db.make_connection() as connection:
        await copy_out(connection, statement, keep, form=form)
    return b"".join(parts)


async def test_what_goes_in_is_what_stands_there(db: DBSessionManager) -> None:
    """Tabs, newlines, backslashes and NULL are themselves again."""
    async with db.get_session() as unit:
        await copy_in(unit, PAIRS, ["number", "word"], _rows(WORDS))
        found = (await unit.execute(select(PAIRS.c.word).order_by(PAIRS.c.number))).scalars().all()

    assert list(found) == list(WORDS.values())


async def test_rows_share_the_fate_of_their_unit(db: DBSessionManager) -> None:
    """COPY as the first act of a unit is inside its transaction: rolled back, nothing is there."""
    with pytest.raises(RuntimeError):
        async with db.get_session() as unit:
            await copy_in(unit, PAIRS, ["number", "word"], _rows(["lost"]))
            raise RuntimeError

    async with db.get_session() as unit:
        assert await unit.scalar(select(func.count()).select_from(PAIRS)) == 0


async def test_row_that_does_not_fit_is_a_typed_error(db: DBSessionManager) -> None:
    """As from any other statement, without SQL or values."""
    with pytest.raises(ConstraintError) as caught:
        async with db.get_session() as unit:
            await copy_in(unit, PAIRS, ["number", "word"], b"canary\tx\n")

    assert "canary" not in str(caught.value)


async def test_csv_has_a_header_and_quotes(db: DBSessionManager) -> None:
    """RFC 4180 as PostgreSQL writes it; parameters are part of the statement."""
    async with db.get_session() as unit:
        await unit.execute(insert(PAIRS).values(number=1, word="a,\"b'"))
        await unit.execute(insert(PAIRS).values(number=2, word="other"))

    found = await _read(db, select(PAIRS).where(PAIRS.c.word == "a,\"b'"), "csv")

    assert found == b'number,word\n1,"a,""b\'"\n'


async def test_lines_are_written_as_they_stand(db: DBSessionManager) -> None:
    """JSON keeps its quotes, commas and backslashes."""
    async with db.get_session() as unit:
        await unit.execute(insert(PAIRS).values(number=1, word='a,"b\\\n\t'))

    found = await _read(db, select(func.json_build_array(PAIRS.c.word)), "lines")

    assert found == rb'["a,\"b\\\n\t"]' + b"\n"


async def test_many_rows_stream_in_flat_memory(db: DBSessionManager) -> None:
    """16 MB pass through a few, and past the time limit of a statement."""
    passed = 0

    async def forget(data: bytes) -> None:
        nonlocal passed
        passed += len(data)

    statement = select(func.repeat("x", 80)).select_from(func.generate_series(1, 200_000))
    tracemalloc.start()
    async with db.make_connection() as connection:
        await connection.execute(text("SET LOCAL statement_timeout = '100ms'"))
        await copy_out(connection, statement, forget, form="lines")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert passed == 16_200_000
    assert peak < 4_000_000


async def test_sink_that_fails_leaves_a_connection_that_serves(db: DBSessionManager) -> None:
    """In the midst of more than all buffers hold: it goes back, and the next one works."""

    async def fail(_data: bytes) -> None:
        raise RuntimeError("nobody reads")

    statement = select(func.repeat("x", 80)).select_from(func.generate_series(1, 200_000))
    for _ in range(3):
        with pytest.raises(RuntimeError, match="nobody reads"):
            async with db.make_connection() as connection:
                await copy_out(connection, statement, fail, form="lines")

    assert db.pool.in_use == 0
    assert await _read(db, select(func.generate_series(1, 2)), "lines") == b"1\n2\n"
