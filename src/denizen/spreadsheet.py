"""Cells that a spreadsheet shows and never computes (OWASP, "CSV Injection").

A `'` before what would be a formula, and before a `'` that is there already: so that exactly one is
taken off again when such a file is read.
"""

from typing import Final

_FORMULA: Final = frozenset("=+-@\t\r'")
STARTS: Final = tuple(sorted(_FORMULA))


def inert(cell: str) -> str:
    """Give a cell as it is written."""
    return f"'{cell}" if cell[:1] in _FORMULA else cell


def plain(cell: str) -> str:
    """Give a cell as it was before it was written."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _FORMULA else cell
