"""The table of errors is complete."""

from collections.abc import Iterator

import pytest

from denizen import errors
from denizen.db import errors as db_errors
from denizen.http.problems import PROBLEMS, from_defect, from_error

# misuse of the data layer by a program: a defect, so 500
PROGRAMMING = {db_errors.NotInitializedError, db_errors.UnitOfWorkError}


def _leaves(kind: type[Exception]) -> Iterator[type[Exception]]:
    below = kind.__subclasses__()
    if not below or kind is db_errors.UnavailableError:
        yield kind
    for one in below:
        yield from _leaves(one)


def test_every_leaf_has_a_row() -> None:
    """Each error of the domain and of the data layer is mapped, or a program's own mistake."""
    leaves = {*_leaves(errors.DenizenError), *_leaves(db_errors.DataError)}

    assert leaves - PROGRAMMING == set(PROBLEMS)


@pytest.mark.parametrize(
    ("error", "status"),
    [(errors.ThrottledError("canary", 77), 429), (errors.OverloadedError(77), 503)],
)
def test_when_to_come_back_is_told(error: errors.DenizenError, status: int) -> None:
    """`Retry-After` is the error's own; which limit it was is nobody's business."""
    answer = from_error(error)

    assert answer is not None
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "77")
    assert b"canary" not in bytes(answer.body)


def test_programming_mistake_is_a_defect() -> None:
    """It has no row: the caller gets 500 with an incident's id."""
    assert from_error(db_errors.UnitOfWorkError("x")) is None


def test_defect_tells_neither_text_nor_place() -> None:
    """The answer carries an id; what went wrong stays inside."""
    answer = from_defect(ValueError("canary"))

    assert answer.status_code == 500
    assert b"canary" not in bytes(answer.body)
    assert b"incident" in bytes(answer.body)
