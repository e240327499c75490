"""A load generator in one process: keep-alive connections that ask again as soon as answered.

    python -m bench.load PORT SECONDS CONNECTIONS < tokens

Prints one JSON line: answers, seconds, statuses, and latency percentiles in milliseconds.
"""

import asyncio
import json
import sys
import time
from collections import Counter

import uvloop


class Connection(asyncio.Protocol):
    """One connection: writes a request, reads the answer by its Content-Length, and again."""

    def __init__(self, requests: list[bytes], offset: int, deadline: float) -> None:
        self._requests = requests
        self._next = offset
        self._deadline = deadline
        self._buffer = b""
        self._sent = 0.0
        self.times: list[float] = []
        self.statuses: Counter[bytes] = Counter()
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Take what came; ask again when an answer is whole."""
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        _, _, after = head.lower().partition(b"content-length:")
        if len(rest) < int(after.split(b"\r\n", 1)[0] or 0):
            return
        self.statuses[head[9:12]] += 1
        self.times.append(time.perf_counter() - self._sent)
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


async def run(port: int, seconds: float, connections: int, tokens: list[str]) -> dict[str, object]:
    """Load the port and give what was measured."""
    requests = [
        f"GET /v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {t}\r\n\r\n".encode()
        for t in tokens
    ]
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    protocols = []
    for number in range(connections):
        offset = number * len(requests) // connections
        _, protocol = await loop.create_connection(
            lambda offset=offset: Connection(requests, offset, began + seconds),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        protocols.append(protocol)
    await asyncio.gather(*(protocol.done for protocol in protocols))
    took = time.perf_counter() - began
    times = sorted(t for protocol in protocols for t in protocol.times)
    statuses = sum((protocol.statuses for protocol in protocols), Counter())
    return {
        "answers": len(times),
        "seconds": took,
        "statuses": {status.decode(): count for status, count in statuses.items()},
        "p50_ms": 1000 * times[len(times) // 2],
        "p99_ms": 1000 * times[len(times) * 99 // 100],
    }


if __name__ == "__main__":
    uvloop.install()
    port, seconds, connections = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(asyncio.run(run(port, seconds, connections, sys.stdin.read().split()))))
