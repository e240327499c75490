"""A wire between the service and PostgreSQL that can be cut where it hurts.

A TCP port in front of a Unix socket, with a thread and a loop of its own: what the service waits
for goes on. It knows just enough of PostgreSQL's protocol to see a COMMIT go by.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

_COMMIT: Final = b"Q\x00\x00\x00\x0cCOMMIT;\x00"
_LOOK_EVERY: Final = 0.005  # seconds
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, not FIN
Way = Literal["to_server", "to_client"]


@dataclass(slots=True)
class Faults:
    """What is wrong with the wire now.

    Attributes:
        is_frozen: connections stand, are even made, and no byte moves.
        drops: the directions in which bytes vanish; a connection that lost one is no good again.
        delay: seconds that every piece takes.
        cuts: COMMITs that are still to be cut, each with its connection.
        is_forwarded: whether such a COMMIT reaches the server first, which carries it out.
        every: of how many COMMITs one is cut.
        seen: COMMITs that went by since the faults were set.
    """

    is_frozen: bool = False
    drops: frozenset[Way] = frozenset()
    delay: float = 0.0
    cuts: int = 0
    is_forwarded: bool = False
    every: int = 3
    seen: int = 0

    def is_cut(self) -> bool:
        """Count a COMMIT, and tell whether it is to be cut."""
        self.seen += 1
        if not self.cuts or self.seen % self.every:
            return False
        self.cuts -= 1
        return True


@dataclass(slots=True, eq=False)
class _Wire:
    """One connection of the service, and the one to the server that belongs to it."""

    near: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    far: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    is_mute: bool = False  # the next that the server says is the answer to a COMMIT that is cut
    task: asyncio.Task[None] | None = field(default=None)

    def reset(self) -> None:
        sock = self.near[1].get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        for _, writer in (self.near, self.far):
            writer.transport.abort()


class Proxy:
    """The wire; as a context manager it listens on `port`.

    Args:
        target: PostgreSQL's socket.
    """

    def __init__(self, target: str) -> None:
        self.faults = Faults()
        self.port = 0
        self._target = target
        self._wires: set[_Wire] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.faults = Faults()
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def heal(self) -> None:
        """Let everything pass from now on."""
        self.faults = Faults()

    def reset(self) -> None:
        """Break every connection with RST."""
        self._run(self._break())

    def lead(self, target: str) -> None:
        """Lead to another socket from now on; what is open breaks."""
        self._target = target
        self.reset()

    def _run(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(20)

    async def _break(self) -> None:
        for wire in list(self._wires):
            wire.reset()

    async def _close(self) -> None:
        self._server.close()
        await self._break()
        tasks = {wire.task for wire in self._wires if wire.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    async def _serve(self, *near: Any) -> None:
        try:
            far = await asyncio.open_unix_connection(self._target)
        except OSError:
            near[1].transport.abort()
            return
        wire = _Wire(near, far, task=asyncio.current_task())
        self._wires.add(wire)
        ways = [asyncio.create_task(way(wire)) for way in (self._to_server, self._to_client)]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for _, writer in (wire.near, wire.far):
                writer.close()
            self._wires.discard(wire)

    async def _to_server(self, wire: _Wire) -> None:
        reader, _ = wire.near
        length = await reader.readexactly(4)  # the start-up packet alone has no letter in front
        await self._move(wire, "to_server", length + await _rest(reader, length))
        while True:
            head = await reader.readexactly(5)
            message = head + await _rest(reader, head[1:])
            if message == _COMMIT and self.faults.is_cut():
                if not self.faults.is_forwarded:
                    wire.reset()
                    return
                wire.is_mute = True
            await self._move(wire, "to_server", message)

    async def _to_client(self, wire: _Wire) -> None:
        while data := await wire.far[0].read(65536):
            if wire.is_mute:
                wire.reset()
                return
            await self._move(wire, "to_client", data)

    async def _move(self, wire: _Wire, way: Way, data: bytes) -> None:
        if self.faults.delay:
            await asyncio.sleep(self.faults.delay)
        while self.faults.is_frozen:  # noqa: ASYNC110  # set from another thread
            await asyncio.sleep(_LOOK_EVERY)
        if way in self.faults.drops:
            return
        writer = wire.far[1] if way == "to_server" else wire.near[1]
        writer.write(data)
        await writer.drain()


async def _rest(reader: asyncio.StreamReader, length: bytes) -> bytes:
    return await reader.readexactly(int.from_bytes(length) - 4)
