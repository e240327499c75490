"""The folder of a backup: whole or not there, and known to be what was written.

Nothing here knows of a running database.
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from denizen.db.replacing import sync_folder

DUMP: Final = "denizen.dump"
_MANIFEST: Final = "backup.json"
_FORM: Final = 1
_PIECE: Final = 1024 * 1024


class BackupError(Exception):
    """Raised when a folder can't become a backup, or is none; says why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says about itself.

    Attributes:
        made_at: when it was begun: whatever was answered before is in it.
        denizen: the version that made it.
        schema: the revision of the schema in it.
        postgres: the version of the database.
        size: octets of the dump.
        sha256: of the dump.
        form: of this description.
    """

    made_at: str
    denizen: str
    schema: str | None
    postgres: str
    size: int
    sha256: str
    form: int = _FORM


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder that takes its name when the block has ended well, and is gone otherwise.

    It is for its owner alone. What a killed run left is removed.

    Raises:
        BackupError: there is something of that name.
        OSError: it can't be written.
    """
    if path.is_symlink() or path.is_mount():
        raise BackupError(f"{path} can't be replaced by a folder: name one inside it")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BackupError(f"{path} is there already: name a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        with _held(part):
            yield part
            sync_folder(part)
            part.rename(path)
            sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def describe(folder: Path, **facts: Any) -> Manifest:
    """Write the manifest beside the dump, safely on the disk, and give it."""
    size, digest = _measured(folder / DUMP)
    manifest = Manifest(size=size, sha256=digest, **facts)
    handle = os.open(folder / _MANIFEST, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2))
        stream.flush()
        os.fsync(stream.fileno())
    return manifest


def require_backup(folder: Path) -> Manifest:
    """Give what a backup says, having seen that its dump is the one that was written.

    Raises:
        BackupError: it is none, not whole, or of a form that a later program writes.
    """
    try:
        told = orjson.loads((folder / _MANIFEST).read_bytes())
        form = told["form"]
        manifest = Manifest(**told) if form == _FORM else None
    except (OSError, orjson.JSONDecodeError, TypeError, KeyError):
        raise BackupError(f"{folder} is no backup of denizen") from None
    if manifest is None:
        raise BackupError(f"{folder} was made by a later denizen")
    try:
        measured = _measured(folder / DUMP)
    except OSError as error:
        raise BackupError(f"{folder / DUMP} can't be read: {error.strerror}") from None
    if measured != (manifest.size, manifest.sha256):
        raise BackupError(f"{folder / DUMP} is damaged: it is not what was written")
    return manifest


def _measured(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def _remove_leftovers(path: Path) -> None:
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError), _held(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder: nobody else takes it for a leftover.

    Raises:
        BlockingIOError: somebody holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
