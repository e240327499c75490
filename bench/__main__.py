"""`make bench`: "who am I" against the hand-written program, interleaved, in one run.

Method: one embedded PostgreSQL with 100,000 users; each program under granian with one worker on
the same machine; 16 keep-alive connections; a warm-up, then rounds that alternate between the
programs; the table gives the median round and the spread. Server, database and load share the
cores, so only ratios count.
"""

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg

from bench.seed import cores, seed
from denizen.db.embedded import EmbeddedServer
from denizen.db.manager import DBSessionManager
from denizen.migrations import migrate

QUICK = bool(os.environ.get("QUICK"))
USERS = 10_000 if QUICK else 100_000
ROUNDS = 3 if QUICK else 7
SECONDS = 2.0 if QUICK else 4.0
CONNECTIONS = 16
PROGRAMS = {
    "hand-written ASGI + asyncpg": ("bench.handwritten:app", []),
    "denizen": ("denizen.app:create_app", ["--factory"]),
}


def main() -> None:
    """Run, print the table, and leave the figures as JSON beside it."""
    with tempfile.TemporaryDirectory(prefix="denizen-bench-") as folder:
        server = EmbeddedServer.for_service(Path(folder))
        server.start()
        try:
            tokens = asyncio.run(_prepare(server))
            figures = _measure(server.app_url, tokens)
        finally:
            server.stop()
    _print(figures)


async def _prepare(server: EmbeddedServer) -> list[str]:
    db = DBSessionManager(server.owner_url)
    db.init()
    await migrate(db, serving_role="denizen")
    await db.close_connections()
    connection = await asyncpg.connect(server.owner_url)
    try:
        return await seed(connection, USERS)
    finally:
        await connection.close()


def _measure(url: str, tokens: list[str]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with contextlib.ExitStack() as stack:
        ports = {name: stack.enter_context(_running(name, url)) for name in PROGRAMS}
        for port in ports.values():
            _load(port, 1.0, tokens)
        for _ in range(ROUNDS):
            for name, port in ports.items():
                figures[name].append(_load(port, SECONDS, tokens))
    return figures


@contextlib.contextmanager
def _running(name: str, url: str) -> Iterator[int]:
    target, options = PROGRAMS[name]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    environment = os.environ | {
        "BENCH_DATABASE_URL": url,
        "DENIZEN_DATABASE_URL": url,
        "DENIZEN_DATABASE_POOL_SIZE": "16",
        "DENIZEN_WORKERS": "1",
    }
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port)]
    command += ["--workers", "1", "--no-ws", "--log-level", "warning", *options, target]
    process = subprocess.Popen(command, env=environment)
    try:
        _await_answer(port)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _await_answer(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing answers on port {port}")


def _load(port: int, seconds: float, tokens: list[str]) -> float:
    command = [sys.executable, "-m", "bench.load", str(port), str(seconds), str(CONNECTIONS)]
    done = subprocess.run(
        command, input="\n".join(tokens), capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    if set(answer["statuses"]) != {"200"}:
        raise RuntimeError(f"expected 200 alone, got {answer['statuses']}")
    return float(answer["answers"] / answer["seconds"])


def _print(figures: dict[str, list[float]]) -> None:
    yardstick, *_ = figures.values()
    print(f"who am I, {USERS:,} users, {CONNECTIONS} connections, {cores()} cores shared")
    for name, rates in figures.items():
        pairs = [mine / theirs for mine, theirs in zip(rates, yardstick, strict=True)]
        low, middle, high = min(pairs), statistics.median(pairs), max(pairs)
        rate = statistics.median(rates)
        print(f"  {name:<30} {rate:>8,.0f}/s   {middle:.2f} ({low:.2f}-{high:.2f})")
    Path("bench-results.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
