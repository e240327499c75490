"""Removing rows that nobody needs any more, so many at a time as a statement has time for."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Table, delete, select, tuple_

from denizen.db.unit import Db

PURGED_AT_ONCE: Final = 10_000  # rows; far below what a statement has time for


async def purge_some(db: Db, table: Table, *is_over: ColumnElement[bool]) -> int:
    """Remove rows for which all of it holds and give how many; at `PURGED_AT_ONCE` there are more.

    All at once would not end in time where many are over, and then never.
    """
    key = tuple(table.primary_key)
    some = select(*key).where(*is_over).limit(PURGED_AT_ONCE)
    # said twice: a row may have come to life again while it was waited for
    result: Any = await db.execute(delete(table).where(tuple_(*key).in_(some), *is_over))
    return int(result.rowcount)
