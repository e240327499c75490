"""The folder of uploads and reports in the data folder; names there are ids, never a client's."""

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_UPLOAD: Final = ".upload"
_PART: Final = ".part"
_REPORTS: Final = (".csv", ".jsonl")
_DAY: Final = 86_400.0  # seconds
# Files hold people's data: nothing stays for long. An upload is removed once it is imported; here
# stay those that were stopped, or only checked.
_LIVES: Final = {_PART: _DAY, _UPLOAD: 7 * _DAY} | dict.fromkeys(_REPORTS, 30 * _DAY)


class ImportFolder:
    """Where uploads wait to be imported, and where reports are fetched."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def part(self) -> Path:
        """Give where a new upload is written, for this user alone."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path / f"{uuid.uuid4()}{_PART}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return path

    def keep(self, part: Path, import_id: uuid.UUID) -> int:
        """Make a finished upload the file of an import, safely on the disk; give its octets."""
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        return part.rename(self.upload(import_id)).stat().st_size

    def upload(self, import_id: uuid.UUID) -> Path:
        """Give the file of an import."""
        return self._path / f"{import_id}{_UPLOAD}"

    def uploads(self) -> Iterator[uuid.UUID]:
        """Give the imports whose files are here, the oldest first."""
        for path in sorted(self._path.glob(f"*{_UPLOAD}")):
            with contextlib.suppress(ValueError):  # somebody else's file
                yield uuid.UUID(path.stem)

    def new_report(self, import_id: uuid.UUID, *, is_csv: bool) -> Path:
        """Give where the report of an import is to be."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._path / f"{import_id}{_REPORTS[0 if is_csv else 1]}"

    def report(self, import_id: uuid.UUID) -> Path | None:
        """Give the report of an import, or None."""
        paths = (self._path / f"{import_id}{ending}" for ending in _REPORTS)
        return next((path for path in paths if path.is_file()), None)

    def tidy(self) -> None:
        """Remove what nobody has come for."""
        for path in self._path.iterdir() if self._path.is_dir() else ():
            life = _LIVES.get(path.suffix)
            if life is not None and time.time() - path.stat().st_mtime > life:
                path.unlink(missing_ok=True)
