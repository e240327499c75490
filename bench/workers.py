"""More workers: `python -m bench.workers [WORKERS...]` (1, 2, 4).

Method: one embedded PostgreSQL with fsync and 100,000 users; the service under so many processes of
granian, one after the other, three rounds; 16 connections that ask who they are, then 16 that sign
in, each for four seconds. Beside the rates stand the processor seconds that service, database and
load took of the cores meanwhile, and the connections that the database had: what is full tells what
the next bottleneck is.
"""

import asyncio
import statistics
import sys
import tempfile
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench.__main__ import load, rate_of
from bench.machine import processor_seconds, tree
from bench.programs import OURS, PROGRAMS, Accounts, Program, Running, prepare_ours, running
from denizen.cores import cores
from denizen.db.embedded import EmbeddedServer

USERS: Final = 100_000
ROUNDS: Final = 3
SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one kind of request: answers and processor seconds, each a second."""

    rate: float
    service: float
    database: float


def main() -> None:
    """Run and print the table."""
    numbers = [int(word) for word in sys.argv[1:]] or [1, 2, 4]
    with tempfile.TemporaryDirectory(prefix="denizen-workers-") as name:
        server = EmbeddedServer.for_service(Path(name), max_connections=200)
        server.start()
        try:
            accounts = asyncio.run(prepare_ours(server, USERS))
            database = _postmaster(Path(name))
            found = [(number, *_measure(server, database, accounts, number)) for number in numbers]
        finally:
            server.stop()
    print(f"{USERS:,} users, {cores()} cores shared by service, database and load")
    print(
        f"{'workers':>8} {'reads/s':>9} {'cores':>13} {'sign-ins/s':>11} {'cores':>13}  connections"
    )
    for number, reads, sign_ins, connections in found:
        cells = f"{number:>8} {reads.rate:>9,.0f} {_cores(reads)} {sign_ins.rate:>11.0f}"
        print(f"{cells} {_cores(sign_ins)}  {connections:>11}")
    print("cores: of the service + of the database")


def _measure(
    server: EmbeddedServer, database: int, accounts: Accounts, workers: int
) -> tuple[Figures, Figures, int]:
    (ours,) = (program for program in PROGRAMS if program.name == OURS)
    with running(_with(ours, workers), server, USERS, workers=workers) as service:
        load(service.port, accounts.reads, 1.0, 64)
        roots = service.pid, database
        rounds = [
            (
                _loaded(service, roots, accounts.reads, "200"),
                _loaded(service, roots, accounts.sign_ins, "201"),
            )
            for _ in range(ROUNDS)
        ]
        reads, sign_ins = (_median(list(one)) for one in zip(*rounds, strict=True))
        return reads, sign_ins, asyncio.run(_connections(server))


def _with(program: Program, workers: int) -> Program:
    words = list(program.command)
    words[words.index("--workers") + 1] = str(workers)
    return replace(program, command=tuple(words))


def _loaded(service: Running, roots: tuple[int, int], requests: list[str], status: str) -> Figures:
    before = [_seconds(root) for root in roots]
    found = load(service.port, requests, SECONDS, 16)
    took = [_seconds(root) - earlier for root, earlier in zip(roots, before, strict=True)]
    return Figures(rate_of(found, status), *(one / found["seconds"] for one in took))


def _seconds(root: int) -> float:
    return sum(map(processor_seconds, tree(root, also_forks=True)))


def _postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text(encoding="utf-8").split()[0])


def _median(rounds: list[Figures]) -> Figures:
    kept = zip(*map(astuple, rounds), strict=True)
    return Figures(*(statistics.median(values) for values in kept))


async def _connections(server: EmbeddedServer) -> int:
    connection: Any = await asyncpg.connect(server.superuser_url)
    try:
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'denizen'"
        return int(await connection.fetchval(query))
    finally:
        await connection.close()


def _cores(found: Figures) -> str:
    return f"{found.service:>5.2f} + {found.database:>5.2f}"


if __name__ == "__main__":
    main()
