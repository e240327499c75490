"""Use cases of figures: leave them for the other processes, and tell those of all."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

from denizen.db.errors import DataError
from denizen.mail.queries import backlog
from denizen.metrics.exposition import written
from denizen.metrics.figures import Figures, added, figures_of
from denizen.metrics.folder import EVERY, MetricsFolder
from denizen.parts import Parts

_PATIENCE: Final = 2.0  # seconds for the database; whoever asks wants the rest all the same
_log = logging.getLogger(__name__)


class MetricsScenarios:
    """Figures of one service.

    Args:
        parts: what is counted.
        folder: where the processes of the run leave theirs; None: this is the only one.
    """

    def __init__(self, parts: Parts[Any], folder: MetricsFolder | None = None) -> None:
        self._parts = parts
        self._folder = folder

    async def tell(self) -> bytes:
        """Give the figures of all processes and of the outbox, as Prometheus reads them.

        Of the others they are a second old. A database that does not answer is a figure, too.
        """
        own, shared = figures_of(self._parts), await self._shared()
        return await asyncio.to_thread(self._tell, own, shared)

    @contextlib.asynccontextmanager
    async def sharing(self) -> AsyncIterator[None]:
        """Leave the figures of this process in the folder as long as the block runs."""
        if self._folder is None:
            yield
            return
        task = asyncio.create_task(self._share(self._folder))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            _leave(self._folder, figures_of(self._parts))

    def _tell(self, *figures: Figures) -> bytes:
        others = [] if self._folder is None else self._folder.others()
        return written(added([*figures, *others]))

    async def _share(self, folder: MetricsFolder) -> None:
        while True:
            await asyncio.to_thread(_leave, folder, figures_of(self._parts))
            await asyncio.sleep(EVERY)

    async def _shared(self) -> Figures:
        """Ask the database for what it alone knows."""
        outbox, now = self._parts.tables.outbox, self._parts.clock.db_now
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await self._parts.db.run(
                    lambda db: backlog(db, outbox, now), read_only=True
                )
        except (DataError, TimeoutError):
            return {"denizen_database_up": {(): [0]}}
        plain = {
            "denizen_database_up": 1,
            "denizen_outbox_waiting": found.waiting,
            "denizen_outbox_age_seconds": found.age,
        }
        return {name: {(): [value]} for name, value in plain.items()}


def _leave(folder: MetricsFolder, figures: Figures) -> None:
    try:
        folder.leave(figures)
    except OSError as error:
        _log.warning("figures can't be left for the other processes: %s", error.strerror)
