"""Statements about limits; they take `db`. Other slices spend, clear and purge through here.

Time is the database's clock, moved by `skew` in tests alone.
"""

import functools
import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Delete,
    Executable,
    Float,
    Interval,
    LargeBinary,
    Table,
    bindparam,
    delete,
    extract,
    func,
    literal,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert

from denizen.clock import NOW
from denizen.db.purging import PURGED_AT_ONCE
from denizen.db.unit import Db
from denizen.errors import ThrottledError
from denizen.throttle.model import Limit

# durations are counted in seconds: days have 23 hours where a host's time zone changes its clocks
_SECOND: Final = literal(timedelta(seconds=1), Interval)
_NO_WAIT: Final = text("SET LOCAL lock_timeout = '50ms'")


async def spend(
    db: Db, table: Table, charges: Sequence[tuple[Limit, str]], skew: timedelta
) -> None:
    """Take one token from the bucket of each limit and value, or from none.

    Buckets stay locked until the unit ends, so the unit should do nothing else, and spend once:
    units that spend twice, each in its own order, would wait for each other. What was taken by
    tries before it is seen: of any number at once no more pass than there are tokens.

    Args:
        db: the session of the unit; when the error leaves it, nothing was taken.
        table: of the buckets.
        charges: what is tried; the first that has no token is the one that is told.
        skew: of the clock.

    Raises:
        ThrottledError: a bucket is empty.
    """
    waits = await _spend(db, table, charges, skew)
    for limit, value in charges:
        wait = waits[limit.bucket(value)] - limit.burst * limit.refill
        if wait > timedelta(0):
            raise ThrottledError(limit.name, max(1, math.ceil(wait.total_seconds())))


async def _spend(
    db: Db, table: Table, charges: Sequence[tuple[Limit, str]], skew: timedelta
) -> dict[bytes, timedelta]:
    """Take the tokens and give, for each bucket, how long it will take to be full again."""
    refills = {limit.bucket(value): limit.refill for limit, value in charges}
    values: dict[str, object] = {"skew": skew}
    for number, key in enumerate(sorted(refills)):  # in one order: nobody waits in a circle
        values |= {f"key_{number}": key, f"refill_{number}": refills[key].total_seconds()}
    found = await db.execute(_spending(table, len(refills)), values)
    return {bytes(key): until_full for key, until_full in found}


@functools.cache
def _spending(table: Table, count: int) -> Executable:
    """Give the statement for so many buckets, which takes longer to make than to run.

    A bucket's own limit reaches the update of a row that was there inside the row that was not
    inserted: its `full_at` is one `refill` after `NOW`. The clock itself is read once the row is
    locked: `NOW`, when the unit began, would make those who waited for the lock too early.
    """
    clock = func.clock_timestamp() + bindparam("skew", type_=Interval)
    rows = union_all(
        *(
            select(
                bindparam(f"key_{number}", type_=LargeBinary),
                NOW + bindparam(f"refill_{number}", type_=Float) * _SECOND,
            )
            for number in range(count)
        )
    )
    fresh = insert(table).from_select(["key", "full_at"], rows)
    refill = extract("epoch", fresh.excluded.full_at - NOW) * _SECOND
    full_at = func.greatest(table.c.full_at, clock) + refill
    spent = fresh.on_conflict_do_update(index_elements=["key"], set_={"full_at": full_at})
    return spent.returning(table.c.key, table.c.full_at - clock)


async def clear(db: Db, table: Table, charges: Sequence[tuple[Limit, str]]) -> None:
    """Fill the buckets of these limits and values; once in a unit, as `spend` explains."""
    keys = enumerate(limit.bucket(value) for limit, value in charges)
    values = {f"key_{number}": key for number, key in keys}
    await db.execute(_clearing(table, len(values)), values)


@functools.cache
def _clearing(table: Table, count: int) -> Delete:
    keys = [bindparam(f"key_{number}", type_=LargeBinary) for number in range(count)]
    # locked in the order in which `spend` takes them
    chosen = select(table.c.key).where(or_(*(table.c.key == key for key in keys)))
    return delete(table).where(table.c.key.in_(chosen.order_by(table.c.key).with_for_update()))


async def purge(db: Db, table: Table, skew: timedelta) -> int:
    """Remove rows of buckets that are full and give how many; at `PURGED_AT_ONCE` there are more.

    Rows that somebody spends from are passed over, so that nobody waits for anybody. In spite of
    SKIP LOCKED PostgreSQL waits for a row's second update where the first one is committed while
    the row is looked at (`heap_lock_updated_tuple`): that ends long before whoever spends waits in
    a circle with this (`deadlock_timeout`, 1 s). In the order in which they lock, which would do
    as well, the whole table is read for each batch.

    Raises:
        ConflictError: as above; run again.
    """
    await db.execute(_NO_WAIT)
    is_full: ColumnElement[bool] = table.c.full_at <= func.now() + literal(skew, Interval)
    full = select(table.c.key).where(is_full).limit(PURGED_AT_ONCE)
    chosen = full.with_for_update(skip_locked=True)
    result: Any = await db.execute(delete(table).where(table.c.key.in_(chosen)))
    return int(result.rowcount)
