"""A load generator in one process: keep-alive connections that ask again as soon as answered.

    python -m bench.load PORT SECONDS CONNECTIONS < requests

The requests are a JSON list of texts, asked in turn. Prints one JSON line: the seconds, and for
each status the number of answers with their latencies in milliseconds (median, p99, longest).
"""

import asyncio
import json
import sys
import time
from collections import defaultdict
from typing import Any

import uvloop


class Connection(asyncio.Protocol):
    """One connection: writes a request, reads the answer to its end, and asks again."""

    def __init__(self, requests: list[bytes], offset: int, deadline: float) -> None:
        self._requests = requests
        self._next = offset
        self._deadline = deadline
        self._buffer = b""
        self._sent = 0.0
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Take what came; ask again when an answer is whole."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or not _is_whole(head.lower(), body):
            return
        took = time.perf_counter() - self._sent
        self.times[head[9:12].decode()].append(1000 * took)
        self._buffer = b""
        if time.perf_counter() < self._deadline:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if not self.done.done():
            self.done.set_result(exc)

    def _ask(self) -> None:
        self._next = (self._next + 1) % len(self._requests)
        self._sent = time.perf_counter()
        self._transport.write(self._requests[self._next])  # type: ignore[attr-defined]


def _is_whole(head: bytes, body: bytes) -> bool:
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    _, _, length = head.partition(b"content-length:")
    return len(body) >= int(length.split(b"\r\n", 1)[0] or 0)


async def run(port: int, seconds: float, connections: int, requests: list[str]) -> dict[str, Any]:
    """Load the port and give what was measured."""
    raw = [text.encode() for text in requests]
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    protocols = []
    for number in range(connections):
        offset = number * len(raw) // connections
        _, protocol = await loop.create_connection(
            lambda offset=offset: Connection(raw, offset, began + seconds),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        protocols.append(protocol)
    await asyncio.gather(*(protocol.done for protocol in protocols))
    statuses = {status for protocol in protocols for status in protocol.times}
    found = {}
    for status in sorted(statuses):
        times = sorted(t for protocol in protocols for t in protocol.times[status])
        found[status] = {
            "answers": len(times),
            "p50": times[len(times) // 2],
            "p99": times[len(times) * 99 // 100],
            "max": times[-1],
        }
    return {"seconds": time.perf_counter() - began, "statuses": found}


if __name__ == "__main__":
    uvloop.install()
    port, seconds, connections = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(asyncio.run(run(port, seconds, connections, json.load(sys.stdin)))))
