"""Cells that a spreadsheet shows and never computes (OWASP, "CSV Injection").

A `'` before what would be a formula, and before a `'` that is there already: so that exactly one is
taken off again when such a file is read. That holds for the beginning of a cell and for what stands
behind a `;`, a tab or the end of a line in it. Where a `;` parts the cells, as in most of Europe, a
spreadsheet splits each line there, and heeds no quotes: they begin none of its cells.
"""

import re
from typing import Final

# in the order of their code points; some spreadsheets read the full-width ones as the others
STARTS: Final = ("\t", "\r", "'", "+", "-", "=", "@", "\uff0b", "\uff0d", "\uff1d", "\uff20")
_SEPARATORS: Final = (";", "\t", "\r", "\n")
_BEGINNING: Final = rf"(?<![^{''.join(_SEPARATORS)}])"  # of the cell, or behind a separator
_FORMULA: Final = f"(?=[{re.escape(''.join(STARTS))}])"
_TO_WRITE: Final = re.compile(_BEGINNING + _FORMULA)
_WRITTEN: Final = re.compile(f"{_BEGINNING}'{_FORMULA}")


def inert(cell: str) -> str:
    """Give a cell as it is written."""
    return _TO_WRITE.sub("'", cell)


def plain(cell: str) -> str:
    """Give a cell as it was before it was written."""
    return _WRITTEN.sub("", cell) if "'" in cell else cell
