"""COPY: rows into and out of tables by the million, streaming, in flat memory.

Works in the transaction of whoever calls and ends none. Knows nothing of what the rows mean.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal

from sqlalchemy import Select, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from denizen.db.unit import Db, as_session

Sink = Callable[[bytes], Awaitable[object]]
Form = Literal["csv", "lines"]

_PATIENCE: Final = 86_400.0  # seconds; the one who reads or feeds may be slow
_PIECE: Final = 2**18  # bytes
# A line is a column of its own, written as it stands: CSV whose quote and delimiter never occur in
# text without control characters, such as JSON.
_FORMS: Final[dict[Form, dict[str, Any]]] = {
    "csv": {"format": "csv", "header": True},
    "lines": {"format": "csv", "quote": "\x01", "delimiter": "\x02"},
}


async def copy_in(db: Db, table: Table, columns: Sequence[str], rows: bytes) -> None:
    """Add rows to a table, in COPY's text form: cells between tabs, rows ended by a newline.

    Raises:
        DataError: through the unit: a row does not fit, or the database is out of reach.
    """
    connection = await as_session(db).connection()
    driver = await _in_transaction(connection)
    if _is_asyncpg(driver):
        where = {"schema_name": table.schema, "columns": columns}
        source = memoryview(rows)  # bytes would be taken for a path
        await driver.copy_to_table(table.name, source=source, timeout=_PATIENCE, **where)
        return
    quote = connection.dialect.identifier_preparer
    names = ", ".join(quote.quote(name) for name in columns)
    async with driver.cursor() as cursor:
        copying = cursor.copy(f"COPY {quote.format_table(table)} ({names}) FROM STDIN")
        async with copying as copy:
            await copy.write(rows)


async def copy_out(
    connection: AsyncConnection, statement: Select[*tuple[Any, ...]], write: Sink, *, form: Form
) -> None:
    """Give the rows of a statement to `write`, as they come: CSV with a header, or plain lines.

    The statement sees one moment, however long it takes; the server's time limit for statements
    is lifted until the transaction ends. They come in pieces of some 256 KiB that end anywhere. A
    slow `write` slows the database down, nothing piles up.

    Raises:
        DataError: through the connection: the database is out of reach.
    """
    driver = await _in_transaction(connection)
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    dialect = connection.dialect
    query = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    pieces = _Pieces(write)
    if _is_asyncpg(driver):
        await driver.copy_from_query(query, output=pieces.add, timeout=_PATIENCE, **_FORMS[form])
        await pieces.end()
        return
    options = ", ".join(f"{name} {_option(value)}" for name, value in _FORMS[form].items())
    async with driver.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT ({options})") as c:
        async for data in c:
            await pieces.add(bytes(data))
    await pieces.end()


class _Pieces:
    """Gathers what comes, some 40 rows at a time, into pieces worth a turn of whoever takes them.

    A million users come as 25,000 times; handing each to a thread took longer than to read them.
    """

    def __init__(self, write: Sink) -> None:
        self._write = write
        self._held = bytearray()

    async def add(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= _PIECE:
            await self.end()

    async def end(self) -> None:
        held, self._held = self._held, bytearray()
        if held:
            await self._write(bytes(held))


async def _in_transaction(connection: AsyncConnection) -> Any:
    """Give the driver's connection, in the transaction that SQLAlchemy begins at a statement."""
    await connection.execute(text("SELECT 1"))
    raw = await connection.get_raw_connection()
    return raw.driver_connection


def _is_asyncpg(driver: Any) -> bool:
    return type(driver).__module__.partition(".")[0] in {"asyncpg", "denizen"}


def _option(value: object) -> str:
    return str(value) if isinstance(value, bool) else f"'{value}'"
