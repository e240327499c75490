"""Reads that every request passes: a statement compiled once, run on the driver's connection.

The connection comes from the engine's one pool. No session, no transaction, no result objects:
2-5 times cheaper than the same read through the ORM (`bench/`). Writes don't belong here.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Dialect, Float, Select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from denizen.db.pool import borrow, give_back
from denizen.db.tally import Durations

Row = Mapping[str, Any]
_Processor = Callable[[Any], Any]
_FLOAT8: Final = 701  # type codes of PostgreSQL: what a number comes as
_NUMERIC: Final = 1700


class CompiledStatement:
    """A SELECT as the driver wants it: its text, the order of its values, its value converters."""

    def __init__(self, statement: Select[*tuple[Any, ...]], dialect: Dialect) -> None:
        self.statement = statement
        compiled = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        self.positions: list[str] = list(compiled.positiontup or [])
        self.defaults: Mapping[str, Any] = dict(compiled.params)
        self.is_native = dialect.driver == "asyncpg"
        self.converters: dict[str, _Processor] = {}
        for column in statement.selected_columns:
            kind = column.type.dialect_impl(dialect)
            number = getattr(kind, "impl_instance", kind)
            comes_as = _FLOAT8 if isinstance(number, Float) else _NUMERIC
            if (convert := kind.result_processor(dialect, comes_as)) is not None:
                self.converters[column.key or ""] = convert


async def fetch_row(
    engine: AsyncEngine,
    statement: CompiledStatement,
    values: Mapping[str, object],
    durations: Durations,
) -> Row | None:
    """Give the statement's first row by column name, or None."""
    if not statement.is_native:  # another driver: the same read through Core, which counts it
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            result = await connection.execute(statement.statement, dict(values))
            found = result.mappings().first()
            return None if found is None else {str(k): v for k, v in found.items()}
    arguments = [values.get(name, statement.defaults[name]) for name in statement.positions]
    pool = engine.sync_engine.pool
    borrowed = await borrow(pool)
    began = time.perf_counter()
    try:
        row = await borrowed.driver_connection.fetchrow(statement.sql, *arguments)
    except BaseException:
        # whatever state the wire is in, nobody else gets this connection
        await greenlet_spawn(borrowed.invalidate)
        raise
    durations.add(time.perf_counter() - began)
    await give_back(pool, borrowed)
    if row is None or not statement.converters:
        return row  # type: ignore[no-any-return]  # asyncpg's Record is a mapping
    return {k: _converted(statement.converters.get(k), v) for k, v in row.items()}


def _converted(convert: _Processor | None, value: Any) -> Any:
    return value if convert is None else convert(value)
