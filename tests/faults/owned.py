"""A service that a row may end as it likes, on the stage's database."""

import asyncio
import contextlib
from pathlib import Path

from faults.stage import Stage, started
from processes import Service, free_port


class Own:
    """A service of a row's own, always on one port.

    Args:
        stage: whose database it uses, through the wire.
        folder: for its files.
        name: what PostgreSQL knows its connections by.
        workers: how many it has.
    """

    def __init__(self, stage: Stage, folder: Path, name: str = "own", *, workers: int = 1) -> None:
        self.name = name
        self._stage = stage
        self._folder = folder
        self._workers = workers
        self._stack = contextlib.ExitStack()
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> Service:
        """Start it, and wait until it serves."""
        url = f"postgresql://denizen@127.0.0.1:{self._stage.proxy.port}/denizen"
        url += f"?sslmode=disable&application_name={self.name}"
        run = started(self._folder, url, port=self.port, workers=self._workers)
        service = self._stack.enter_context(run)
        await asyncio.to_thread(service.until, "/readyz", 200)
        return service

    async def end(self) -> None:
        """End what is left of it."""
        await asyncio.to_thread(self._stack.close)
