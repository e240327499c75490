"""The server of `denizen serve`: a process that keeps the workers, and what runs inside one."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from granian import Granian
from granian.constants import Interfaces
from granian.http import HTTP1Settings

from denizen.app import create_app
from denizen.cli.descriptors import clients_of_a_worker
from denizen.cli.running import Urls
from denizen.logs import log_config, request_log
from denizen.metrics.folder import MetricsFolder
from denizen.settings import Settings, variable

HEADER_PATIENCE: Final = 10_000  # milliseconds for the whole head of a request: no slowloris
GRACE: Final = 20  # seconds that running requests get after SIGTERM
SETTLING: Final = 0.1  # seconds between a worker's start-up and its serving, amply
PARENT: Final = "DENIZEN_SERVE_PID"
# no settings: what the main process tells its workers
DEV: Final = "DENIZEN_SERVE_DEV"
FIGURES: Final = "DENIZEN_SERVE_FIGURES"
_log = logging.getLogger(__name__)


def run(settings: Settings, urls: Urls, *, is_dev: bool) -> None:
    """Run the server's processes until they are told to end."""
    told = {"database_url": urls.serving}  # a worker reads settings anew, without our arguments
    told |= {n: str(getattr(settings, n)) for n in ("workers", "host", "port", "data_dir")}
    os.environ.update({variable(name): value for name, value in told.items()})
    os.environ[PARENT] = str(os.getpid())
    os.environ[DEV] = os.environ[PARENT] if is_dev else ""
    os.environ[FIGURES] = _figures_folder(settings)
    os.register_at_fork(before=_hold_signals, after_in_parent=_take_signals)
    pools = 2 if settings.replica_urls else 1
    connections = pools * settings.database_pool_size
    Granian(
        "denizen.cli.workers:worker_app",
        factory=True,
        interface=Interfaces.ASGI,
        address=settings.host,
        port=settings.port,
        workers=settings.workers,
        backpressure=clients_of_a_worker(settings.workers, connections),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE,
        log_dictconfig=log_config(is_terminal=sys.stderr.isatty()),
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_PATIENCE),
    ).serve()


def worker_app() -> FastAPI:
    """Make the app inside a worker process, which ends when the service that made it is gone."""
    _hold_signals()  # where workers are not forked, nothing did so far
    parent = int(os.environ.get(PARENT, "0"))
    if parent:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    is_dev = bool(parent) and os.environ.get(DEV) == str(parent)
    figures = os.environ.get(FIGURES) if parent else None
    folder = MetricsFolder(Path(figures)) if figures else None
    app = create_app(is_dev=is_dev, metrics_folder=folder, request_log=request_log())
    start = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with start(app) as state:
            # not before the loop, which stops after start-up, runs again to serve
            asyncio.get_running_loop().call_later(SETTLING, _take_signals)
            gc.freeze()  # a full collection would go through all that stays, and everybody wait
            yield state

    app.router.lifespan_context = lifespan
    return app


def _figures_folder(settings: Settings) -> str:
    """Make the folder in which the workers add up what they count; each run has an empty one."""
    folder = settings.data_dir.resolve() / "metrics" / str(settings.port)
    try:
        MetricsFolder.prepare(folder)
    except OSError as error:
        said = "%s can't be used (%s): /metrics tells of one worker alone"
        _log.warning(said, folder, error.strerror)
        return ""
    return str(folder)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _hold_signals() -> None:
    """Keep SIGTERM waiting, from before a worker is forked until its loop runs and listens.

    Earlier the handlers of the main process would only make a note of it, and between start-up and
    serving uvloop drops it: the worker would be waited for in vain.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _take_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
