"""PostgreSQL's own dump and restore of one database, run as programs; what is in it is not known.

A dump is of one moment, whoever writes meanwhile, and can be read by the same major version of
PostgreSQL and by later ones.
"""

import os
import subprocess
from pathlib import Path

from denizen.db.binaries import Binaries, EmbeddedDatabaseError, Launch, environment


class DumpError(EmbeddedDatabaseError):
    """Raised when a dump can't be made or read; carries what the program said last."""


def dump(binaries: Binaries, url: str, path: Path) -> None:
    """Write the database at `url` into a new file, which is on the disk when this returns.

    Its owner alone can read it.

    Raises:
        DumpError: the database is out of reach, or the file can't be written.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    _run(binaries["pg_dump"], "--format=custom", f"--file={path}", f"--dbname={url}")
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def load(binaries: Binaries, url: str, path: Path) -> None:
    """Read a dump into the empty database at `url`, whose roles are those of the dump.

    Raises:
        DumpError: it is no dump, or one of a later PostgreSQL; what was read stays.
    """
    _run(binaries["pg_restore"], "--exit-on-error", f"--dbname={url}", str(path))


def _run(*command: str) -> None:
    """Run a program that ends when this process does."""
    # what is set for libpq would win over what the URL does not say
    told = {name: value for name, value in environment().items() if name[:2] != "PG"}
    done = subprocess.run(  # noqa: S603  # PostgreSQL's own program
        [*Launch().guarded(*command), "--no-password"],
        capture_output=True,
        text=True,
        check=False,
        env=told,
    )
    if done.returncode != 0:
        name, lines = Path(command[0]).name, done.stderr.strip().splitlines() or ["no word"]
        raise DumpError(f"{name} failed: {lines[-1].removeprefix(f'{name}: ')}")
