"""The parent's side of the process that reads a file (`reader.py`)."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import orjson

from denizen.imports.reader import Batch, Job, receive

# Of the environment, what Python and the system's libraries need; the rest holds the secrets of the
# service, and the file is a stranger's.
_NEEDED: Final = ("PYTHON", "LANG", "LC_", "LD_", "DYLD_", "TZ", "TMPDIR")
_COMMAND: Final = (sys.executable, "-m", "denizen.imports.reader")


@contextlib.asynccontextmanager
async def reading(job: Job) -> AsyncIterator[Callable[[], Awaitable[Batch | None]]]:
    """Read a file in a process of its own: gives what gives the next batch, None after the last.

    The process reads ahead by one batch, and ends with the block, or when this process dies.

    Raises:
        FileError: when called: the file can't be read to its end.
    """
    process = subprocess.Popen(  # noqa: ASYNC220, S603  # a child and pipes, whatever the loop is
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    )
    with process:
        try:
            await asyncio.to_thread(_give, process, orjson.dumps(job))
            yield lambda: asyncio.to_thread(_take, process)
        finally:
            process.kill()
            await asyncio.shield(asyncio.to_thread(process.wait))


def _environment() -> dict[str, str]:
    needed = {name: value for name, value in os.environ.items() if name.startswith(_NEEDED)}
    return needed | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _give(process: "subprocess.Popen[bytes]", text: bytes) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as stream:
            stream.write(text)


def _take(process: "subprocess.Popen[bytes]") -> Batch | None:
    if process.stdout is None:
        raise RuntimeError("the process has no pipe")
    return receive(process.stdout)
