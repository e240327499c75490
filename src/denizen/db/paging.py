"""Keyset pages: a list in a stable order, walked by the last row seen instead of by a number.

A page costs the same at any depth, and a row that stays is seen exactly once while others come and
go, as long as its own keys don't change. Cursors are typed and checked (version, order, filters,
last keys), not signed: a forged one can only ask for another page of the same list.
"""

import base64
import binascii
import functools
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Column, ColumnElement, Select, bindparam, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from denizen.db.errors import CursorError
from denizen.db.unit import Db

T = TypeVar("T")

MAX_LIMIT: Final = 1000
_VERSION: Final = 1
_LONGEST_CURSOR: Final = 4096
_READERS: Final[dict[type, Callable[[str], Any]]] = {
    str: str,
    uuid.UUID: uuid.UUID,
    datetime: lambda text: datetime.fromisoformat(text).astimezone(UTC),
    int: int,
}


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Up to `limit` items in order, and where the next page begins; None after the last."""

    items: Sequence[T]
    next_cursor: str | None

    def __iter__(self) -> Iterator[T]:
        """Walk the items of this page."""
        return iter(self.items)

    def __len__(self) -> int:
        """Count the items of this page."""
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Order:
    """A total order: NOT NULL columns of which the last is unique, all in one direction."""

    name: str
    columns: tuple[InstrumentedAttribute[Any] | Column[Any], ...]
    descending: bool = False

    def clauses(self) -> tuple[ColumnElement[Any], ...]:
        """Give what ORDER BY takes."""
        return tuple(c.desc() if self.descending else c.asc() for c in self.columns)


async def fetch_page(
    db: Db,
    statement: Select[Any],
    order: Order,
    *,
    limit: int,
    cursor: str | None = None,
    filters: object = None,
) -> Page[Any]:
    """Give one page of `statement`, in one statement: entities, or rows of several columns.

    Args:
        db: any session.
        statement: a SELECT with its conditions and without an order.
        order: how the list is sorted.
        limit: 1 to 1,000 items.
        cursor: `next_cursor` of the page before.
        filters: whatever the conditions were made from; a cursor is good for the same alone.

    Raises:
        CursorError: the cursor is malformed, or of another order or other filters.
        ValueError: the limit is out of range.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"limit must be from 1 to {MAX_LIMIT}")
    mark = _mark(order, filters)
    last: dict[str, Any] = {}
    if cursor is not None:
        last = _named(_read_cursor(cursor, mark, order))
        statement = statement.where(_behind(order))
    statement = statement.order_by(*order.clauses()).limit(limit + 1)
    first, *others = statement.column_descriptions
    is_entity = not others and first["expr"] is first.get("entity")
    found = await (db.scalars(statement, last) if is_entity else db.execute(statement, last))
    rows = found.all()
    items = rows[:limit]
    following = _write_cursor(items[-1], mark, order) if len(rows) > limit else None
    return Page(items, following)


@functools.cache
def _behind(order: Order) -> ColumnElement[bool]:
    """Give the condition "behind the row with these keys", as one row comparison.

    Made once for each order: to make it takes longer than the server needs to read a page.
    """
    keys = tuple_(*order.columns)
    names = _named(order.columns)
    last = tuple_(*(bindparam(name, type_=column.type) for name, column in names.items()))
    return keys < last if order.descending else keys > last


def _named(keys: Sequence[T]) -> dict[str, T]:
    return {f"last_{number}": key for number, key in enumerate(keys)}


def _mark(order: Order, filters: object) -> str:
    text = f"{order.name}|{order.descending}|{filters!r}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _write_cursor(row: object, mark: str, order: Order) -> str:
    keys = [_as_text(getattr(row, column.key or "")) for column in order.columns]
    payload = json.dumps([_VERSION, mark, keys], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(payload).rstrip(b"=").decode()


def _read_cursor(cursor: str, mark: str, order: Order) -> list[Any]:
    if len(cursor) > _LONGEST_CURSOR:
        raise CursorError
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        version, made_for, keys = json.loads(base64.b64decode(padded, b"-_", validate=True))
        is_mine = type(version) is int and version == _VERSION and made_for == mark
        if not is_mine or not isinstance(keys, list) or set(cursor) & {"+", "/"}:
            raise CursorError
        return [_from_text(k, c) for k, c in zip(keys, order.columns, strict=True)]
    except (ValueError, TypeError, binascii.Error, RecursionError, OverflowError):
        raise CursorError from None


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _from_text(text: Any, column: InstrumentedAttribute[Any] | Column[Any]) -> Any:
    if not isinstance(text, str) or "\0" in text:
        raise CursorError
    text.encode()  # a lone surrogate is a ValueError
    return _READERS[column.type.python_type](text)
