"""The list of properties: what must hold, by which row of the sketch's table, and who breaks it.

A check is a function of the ground; it calls `hold` and comes to its end when the property holds.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from styles.contract.ground import Ground

Check = Callable[[Ground], Awaitable[None]]
C = TypeVar("C", bound=Check)


class BrokenError(Exception):
    """Raised by a check when its property does not hold; the text is what was seen."""


@dataclass(frozen=True, slots=True)
class Property:
    """Something that must hold.

    Attributes:
        name: the check's own.
        says: the property, in one sentence.
        row: the row of the sketch's table of defects; None: no defect of the sketch is about it.
        breaks: the letters of the styles in which it does not hold.
        applies: the letters of the styles that have anything to be asked.
        is_outer: whether the outer interface alone is asked.
    """

    name: str
    says: str
    row: int | None
    breaks: str
    applies: str
    is_outer: bool
    check: Check


PROPERTIES: Final[dict[str, Property]] = {}


def holds(
    *, row: int | None = None, breaks: str = "", applies: str = "abcde", outer: bool = True
) -> Callable[[C], C]:
    """Put a check on the list."""

    def add(check: C) -> C:
        name = check.__name__
        says = (check.__doc__ or "").split("\n\n")[0].replace("\n    ", " ").rstrip(".")
        PROPERTIES[name] = Property(name, says, row, breaks, applies, outer, check)
        return check

    return add


def hold(condition: object, seen: str) -> None:
    """See that a condition holds.

    Raises:
        BrokenError: it does not.
    """
    if not condition:
        raise BrokenError(seen)
