"""Spending from limits in a unit of its own, taking turns."""

from collections.abc import Sequence
from typing import Any

from denizen.errors import ThrottledError
from denizen.parts import Parts
from denizen.throttle.model import Limit
from denizen.throttle.queries import spend


async def pay(parts: Parts[Any], charges: Sequence[tuple[Limit, str]]) -> None:
    """Take one token from the bucket of each limit and value, or from none.

    Raises:
        ThrottledError: a bucket is empty.
    """
    table, skew = parts.tables.throttles, parts.clock.skew
    try:
        async with parts.turns:
            await parts.db.run(lambda db: spend(db, table, charges, skew))
    except ThrottledError as error:
        parts.tally.throttled[error.limit] += 1
        raise
