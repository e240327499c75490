"""`/metrics`: behind a key on the service's own port, and for this machine on one of its own."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import Depends, Response
from fastapi.responses import PlainTextResponse

from denizen.http.gate import Gate
from denizen.http.problems import documented
from denizen.http.route import Routes
from denizen.metrics.exposition import MEDIA_TYPE
from denizen.metrics.scenarios import MetricsScenarios

PATH: Final = "/metrics"
_PATIENCE: Final = 10.0  # seconds for a request's head and the answer
_LONGEST_HEAD: Final = 16 * 1024
_log = logging.getLogger(__name__)


class MetricsRoutes:
    """The route over one `MetricsScenarios`.

    Args:
        metrics: what is told.
        gate: lets keys with the scope `metrics:read` through.
        port: of this machine's loopback address, where no key is asked for; None: no such port.
    """

    def __init__(
        self, metrics: MetricsScenarios, gate: Gate, routes: Routes, *, port: int | None
    ) -> None:
        self._metrics = metrics
        self._port = port
        only = gate.allow(scope="metrics:read", replays=False)
        answers: dict[int | str, dict[str, Any]] = documented(401, 403)
        answers[200] = {"content": {"text/plain": {"schema": {"type": "string"}}}}
        add = routes.under("", "health")
        add(
            PATH,
            self.tell,
            methods=["GET"],
            response_class=PlainTextResponse,
            dependencies=[Depends(only)],
            responses=answers,
        )

    async def tell(self) -> Response:
        """Tell the figures of the service, as Prometheus reads them."""
        return Response(await self._metrics.tell(), media_type=MEDIA_TYPE)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        """Share the figures with the other processes, and listen, while the app runs."""
        async with self._metrics.sharing(), self._listening():
            yield

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """Listen on the port beside the other processes of the service: each can tell of all."""
        if self._port is None:
            yield
            return
        options: dict[str, Any] = {"limit": _LONGEST_HEAD, "reuse_port": True}
        server = await asyncio.start_server(self._answer, "127.0.0.1", self._port, **options)
        try:
            yield
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close: all that a scraper on this machine needs."""
        try:
            async with asyncio.timeout(_PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, *_ = head.split(None, 2)
                is_known = method == b"GET" and path.partition(b"?")[0] == PATH.encode()
                body = await self._metrics.tell() if is_known else b""
                writer.write(_head(body, is_known=is_known) + body)
                await writer.drain()
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError):
            pass  # no request, or nobody who waits
        except Exception as error:  # noqa: BLE001  # one request must not end the listening
            _log.error("the figures could not be told: %s", type(error).__name__)
        finally:
            writer.close()


def _head(body: bytes, *, is_known: bool) -> bytes:
    status = "200 OK" if is_known else "404 Not Found"
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {MEDIA_TYPE}", f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()
