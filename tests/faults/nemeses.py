"""What is done to PostgreSQL: killed, stopped, its backends ended. Every process by its own id."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg

from denizen.db.embedded import EmbeddedServer
from denizen.db.testing import superuser


def postmaster(server: EmbeddedServer) -> int:
    """Give the id of the server's first process."""
    return int((server._cluster / "postmaster.pid").read_text("ascii").splitlines()[0])


def children(pid: int) -> list[int]:
    """Give the ids of the processes that a process has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            _, _, fields = (entry / "stat").read_text().rpartition(")")
            if int(fields.split()[1]) == pid:
                found.append(int(entry.name))
    return found


def signal_server(server: EmbeddedServer, number: signal.Signals) -> None:
    """Signal every process of the server."""
    signal_tree(postmaster(server), number)


def signal_tree(first: int, number: signal.Signals) -> None:
    """Signal the first process, which starts no other any more, and then all others."""
    started = children(first)
    os.kill(first, number)
    for pid in {*started, *children(first)}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextlib.contextmanager
def frozen(server: EmbeddedServer) -> Iterator[None]:
    """Stop every process of the server, as a machine that hangs does."""
    with stopped(postmaster(server)):
        yield


@contextlib.contextmanager
def stopped(first: int) -> Iterator[None]:
    """Stop a process and those that it has started."""
    signal_tree(first, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_tree(first, signal.SIGCONT)


async def until_new(server: EmbeddedServer, old: int) -> None:
    """Wait until another server than that process answers."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError, ValueError, IndexError, asyncpg.PostgresError):
                if postmaster(server) != old:
                    async with superuser(server.superuser_url) as watcher:
                        await watcher.fetchval("SELECT 1")
                    return
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def every(seconds: float, server: EmbeddedServer, query: str) -> AsyncIterator[None]:
    """Run a query again and again beside the block."""
    async with superuser(server.superuser_url) as connection:

        async def act() -> None:
            await connection.execute(query)
            await asyncio.sleep(seconds)

        async with over_and_over(act):
            yield


@contextlib.asynccontextmanager
async def over_and_over(act: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Act again and again beside the block, which ends with the last act."""
    over = asyncio.Event()

    async def run() -> None:
        while not over.is_set():
            await act()

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        over.set()
        await task
