"""How a file begins: what its columns fill, and its first rows as they are read; no secrets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from denizen.imports.files import beginning
from denizen.imports.recipes import Field, RecipeName, plan
from denizen.imports.report import LEFT_OUT, secret_positions
from denizen.spreadsheet import plain

ROWS: Final = 20
_LONGEST_CELL: Final = 200


@dataclass(frozen=True, slots=True)
class Preview:
    """The beginning of a file.

    Attributes:
        recipe: the schema that its columns are of.
        columns: those that fill a field, with the field.
        left: those that fill none.
        rows: the line where each begins, and the cells of `columns`.
    """

    recipe: RecipeName
    columns: Sequence[tuple[str, Field]]
    left: Sequence[str]
    rows: Sequence[tuple[int, Sequence[str]]]


def preview(path: Path, options: Mapping[str, Any]) -> Preview:
    """Read the beginning of a file, with the options of its import.

    Raises:
        FileError: it can't be read, or its columns are not understood.
        OSError: it can't be opened.
    """
    layout, found = beginning(path, options["encoding"], ROWS)
    planned = plan(layout.columns, options["recipe"], options["columns"])
    fields = sorted(planned.fields.items(), key=lambda pair: pair[1])
    positions = [position for _, position in fields]
    secret = secret_positions(layout, planned)
    is_csv = layout.kind == "csv"

    def shown(cells: Sequence[Any], position: int) -> str:
        value = cells[position] if position < len(cells) else None
        if value is None or value == "":
            return ""
        if position in secret:
            return LEFT_OUT
        text = str(value)
        return (plain(text) if is_csv else text)[:_LONGEST_CELL]

    return Preview(
        planned.recipe,
        [(layout.columns[position], field) for field, position in fields],
        [name for n, name in enumerate(layout.columns) if n not in positions],
        [(line, [shown(cells or (), position) for position in positions]) for line, cells in found],
    )
