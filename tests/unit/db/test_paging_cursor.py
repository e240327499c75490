"""Cursors: typed, checked, good for one list alone."""

import base64
import json
import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from denizen.db import paging
from denizen.db.errors import CursorError
from denizen.db.paging import Order
from denizen.users.model import UserModel

ORDER = Order("created_at", (UserModel.created_at, UserModel.id), descending=True)
ROW = SimpleNamespace(created_at=datetime(2026, 1, 2, 3, 4, 5, 678, UTC), id=uuid.uuid4())


def _cursor(change: Any) -> str:
    mark = paging._mark(ORDER, None)
    payload = change([1, mark, [ROW.created_at.isoformat(), str(ROW.id)]])
    return base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()


def test_cursor_reads_back_to_the_typed_keys() -> None:
    """What was written is read as the columns' types, to the microsecond."""
    mark = paging._mark(ORDER, None)
    text = paging._write_cursor(ROW, mark, ORDER)

    assert paging._read_cursor(text, mark, ORDER) == [ROW.created_at, ROW.id]


@pytest.mark.parametrize(
    "change",
    [
        lambda p: [2, *p[1:]],
        lambda p: [True, *p[1:]],
        lambda p: [1.0, *p[1:]],
        lambda p: [1, "0" * 16, p[2]],
        lambda p: [*p[:2], p[2][:1]],
        lambda p: [*p[:2], [*p[2], "x"]],
        lambda p: [*p[:2], ["now", p[2][1]]],
        lambda p: [*p[:2], [p[2][0], "x"]],
        lambda p: [*p[:2], [None, None]],
        lambda p: [*p[:2], {"a": 1, "b": 2}],
        lambda p: [*p[:2], "xy"],
        lambda p: [*p[:2], [p[2][0] + "\0", p[2][1]]],
        lambda _: {},
        lambda _: "x",
        lambda _: [],
    ],
)
def test_t_sql_1_forged_cursors_are_refused(change: Any) -> None:
    """Version, list, number, types and characters of the keys are all looked at."""
    with pytest.raises(CursorError):
        paging._read_cursor(_cursor(change), paging._mark(ORDER, None), ORDER)


@pytest.mark.parametrize("text", ["", "x", "ä", "A" * 5000, "=" * 8, "[" * 4000])
def test_garbage_is_refused(text: str) -> None:
    """Whatever it is, one error."""
    with pytest.raises(CursorError):
        paging._read_cursor(text, paging._mark(ORDER, None), ORDER)


def test_cursor_is_good_for_its_filters_and_order_alone() -> None:
    """The mark differs by order, direction and filters."""
    up = Order("created_at", ORDER.columns)
    marks = {paging._mark(ORDER, None), paging._mark(ORDER, ("a",)), paging._mark(up, None)}

    assert len(marks) == 3
