"""Putting another cluster in the place of the embedded database's: all of it or nothing.

The one before stays beside it. Killed at any moment, the folder has the old one or the new one:
what was made in part is removed at the next start, what was ready and only had to be put in place
is put there (`embedded.py`).
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from denizen.db.binaries import find_binaries, find_launch
from denizen.db.embedded import CLUSTER, NEW, READY, EmbeddedServer, owning


@dataclass(slots=True)
class Replacement:
    """A running server whose cluster is to be the folder's.

    Attributes:
        server: empty but for the roles and the database.
        aside: where the cluster before lies now; None until the block has ended, or if there was
            none.
    """

    server: EmbeddedServer
    aside: Path | None = None


@contextlib.contextmanager
def replacing(data_dir: Path, *, bin_dir: Path | None = None) -> Iterator[Replacement]:
    """Give a fresh server, whose cluster takes its place when the block has ended well.

    The folder is owned meanwhile: no service starts. The PostgreSQL is the one that a new folder
    would get, whatever the one before was made by.

    Raises:
        AlreadyRunningError: a service or a command uses the folder.
        EmbeddedDatabaseError: the folder can't be used, or PostgreSQL does not start.
    """
    folder = data_dir.resolve()
    binaries = find_binaries(bin_dir)
    with owning(folder):
        if find_launch(binaries).user is not None:
            folder.chmod(0o711)  # to be passed through, not read
        if not (folder / CLUSTER).exists() and (folder / READY).exists():
            (folder / READY).rename(folder / CLUSTER)  # one before was cut off at its end
        for leftover in folder.glob(f"{NEW}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=NEW, dir=folder))
        try:
            found = Replacement(EmbeddedServer(work, binaries, kind="command"))
            found.server.start()
            try:
                yield found
            finally:
                found.server.stop()
            found.aside = _put_in_place(folder, work / CLUSTER)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _put_in_place(folder: Path, cluster: Path) -> Path | None:
    """Change the two; a start after a crash in between puts what is ready in place."""
    ready, current = folder / READY, folder / CLUSTER
    shutil.rmtree(ready, ignore_errors=True)
    cluster.rename(ready)
    sync_folder(folder)
    aside = None
    if current.exists():
        aside = folder / f"{CLUSTER}-before-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
        current.rename(aside)
    ready.rename(current)
    sync_folder(folder)
    return aside


def sync_folder(folder: Path) -> None:
    """Have the names in a folder outlive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
