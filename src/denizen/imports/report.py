"""The report of an import: the rows that were not taken, with the reason, as a file.

CSV for what came as CSV or as a dump, JSON Lines for JSON. The original columns are there, so that
rows can be mended and imported again, but never what may be a secret.
"""

import csv
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from denizen.imports.files import Layout, records
from denizen.imports.model import REASONS
from denizen.imports.reader import Refusal
from denizen.imports.recipes import REPORT_COLUMNS, Plan
from denizen.spreadsheet import inert, plain

MEDIA_TYPES: Final = {".csv": "text/csv; charset=utf-8", ".jsonl": "application/jsonl"}
LEFT_OUT: Final = "(left out)"
_SECRET: Final = re.compile("passw|hash|salt|token|secret", re.IGNORECASE)
_SECRET_FIELDS: Final = ("hashed_password", "firebase_hash", "firebase_salt")


def secret_positions(layout: Layout, plan: Plan) -> set[int]:
    """Give which cells may hold secrets: by what they fill, or by their column's name."""
    filled = {plan.fields[field] for field in _SECRET_FIELDS if field in plan.fields}
    return {
        position
        for position, column in enumerate(layout.columns)
        if position in filled or _SECRET.search(column)
    }


class ReportWriter:
    """Writes a report beside the file that is read once more along with it."""

    def __init__(self, path: Path, source: Path, layout: Layout, plan: Plan) -> None:
        self._layout = layout
        self._numbered = enumerate(records(source, layout), 1)
        self._secret = secret_positions(layout, plan)
        descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        is_csv = layout.kind in {"csv", "dump"}
        self._stream = os.fdopen(
            descriptor,
            "w",
            encoding="utf-8-sig" if is_csv else "utf-8",
            errors="backslashreplace",  # half a surrogate pair becomes what JSON calls it
            newline="",
        )
        self._csv = csv.writer(self._stream) if is_csv else None
        if self._csv is not None:
            self._csv.writerow([*REPORT_COLUMNS, *layout.columns])

    def add(self, refusals: Iterable[Refusal]) -> None:
        """Write rows; each call goes on in the file where the one before ended."""
        for refusal in refusals:
            cells = next(cells for number, (_, cells) in self._numbered if number == refusal.record)
            self._write(refusal, cells)

    def close(self) -> None:
        """End the file."""
        self._stream.close()

    def _write(self, refusal: Refusal, cells: Sequence[Any] | None) -> None:
        known = self._known(cells or ())
        head = (refusal.line, refusal.field, REASONS[refusal.code])
        if self._csv is not None:
            self._csv.writerow([*head, *map(self._shown, known)])
            return
        row = dict(zip(REPORT_COLUMNS, head, strict=True))
        pairs = zip(self._layout.columns, known, strict=False)
        row |= {column: value for column, value in pairs if value is not None}
        self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")

    def _shown(self, cell: str | None) -> str:
        text = cell or ""
        return inert(plain(text) if self._layout.kind == "csv" else text)

    def _known(self, cells: Sequence[Any]) -> list[Any]:
        return [
            LEFT_OUT if value and position in self._secret else value
            for position, value in enumerate(cells)
        ]
