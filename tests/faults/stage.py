"""A service and its PostgreSQL with the wire in between: what the faults happen to."""

import asyncio
import contextlib
import os
import time
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from denizen.app import Denizen
from denizen.db.embedded import EmbeddedServer
from denizen.db.manager import DBSessionManager
from denizen.db.testing import superuser
from denizen.migrations import migrate
from denizen.settings import Settings
from denizen.users.model import UserModel
from faults import checkers
from faults.load import Load
from faults.proxy import Proxy
from faults.recorder import Recorder, outcomes
from faults.report import Measured, longest_gap, phases, publish
from processes import Service, free_port, serving
from support import PASSWORD, an_admin

POOL: Final = 8
SETTLING: Final = 10.0  # seconds that a service gets to come to rest
_ROWS: Final = "SELECT split_part(username, '.', 1) AS act FROM users WHERE username LIKE $1"
_MAILS: Final = """
SELECT DISTINCT split_part(u.username, '.', 1) AS act
FROM outbox o JOIN users u ON u.id = o.user_id WHERE u.username LIKE $1
"""
_EVENTS: Final = """
SELECT split_part(u.username, '.', 1) AS act
FROM audit_events a JOIN users u ON u.id = a.user_id
WHERE a.action = 'user.created' AND u.username LIKE $1
"""
_OPEN: Final = """
SELECT count(*) AS every, count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle
FROM pg_stat_activity WHERE usename = 'denizen'
"""


class Server(Protocol):
    """A PostgreSQL, or some of which one takes writes, by the roles that use it."""

    @property
    def owner_url(self) -> str:
        """URL of the role that owns the schema."""
        ...

    @property
    def app_url(self) -> str:
        """URL of the role that serves."""
        ...

    @property
    def superuser_url(self) -> str:
        """URL of the superuser, at the one that takes writes."""
        ...


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs, and how what it does is looked at without going through it.

    Attributes:
        server: whose rows count.
        service: the service.
        metrics: the port of its figures.
        token: of an admin.
        folder: for files.
    """

    server: Server
    service: Service
    metrics: int
    token: str
    folder: Path

    @property
    def url(self) -> str:
        """Where the service is."""
        return f"http://127.0.0.1:{self.service.port}"

    @contextlib.asynccontextmanager
    async def loaded(self, **options: Any) -> AsyncIterator[Load]:
        """Load the service; when the block is left every act was told, and the service is well."""
        options = {"url": self.url, "token": self.token} | options
        path = self.folder / f"{time.monotonic_ns()}.jsonl"
        with Recorder(path) as recorder:
            load = Load(recorder=recorder, **options)
            async with load.running():
                yield load

    async def measure(
        self, load: Load, row: str, fault: str, expected: str, *, is_settled: bool = True
    ) -> Measured:
        """Hold the rows that are there against the history, and tell; what is wrong fails.

        Args:
            load: what was asked and told.
            row: the words of the report.
            fault: likewise.
            expected: likewise.
            is_settled: whether they asked long enough to have been told of every act.
        """
        found = await look(self.server, load)
        leaked = await self.leaks()
        told = outcomes(load.recorder.tries())
        words = {"row": row, "fault": fault, "expected": expected}
        sets = found.sets if is_settled else replace(found.sets, unresolved=set())
        measured = publish(measured_by(load, sets, leaked=leaked, **words))
        assert measured.acts
        assert measured.is_green, (sets, leaked)
        assert checkers.without_mail(told, found.mails) == set()
        assert checkers.audited_otherwise(found.rows, found.events) == set()
        return measured

    async def leaks(self) -> int:
        """Count what is still open once the service had time to come to rest."""
        deadline = time.monotonic() + SETTLING
        while (count := await self._open()) and time.monotonic() < deadline:  # noqa: ASYNC110  # PostgreSQL has no event
            await asyncio.sleep(0.1)
        return count

    async def figure(self, *names: str) -> float:
        """Give the sum of the service's figures that begin so."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{self.metrics}/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith(names)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    async def _open(self) -> int:
        in_use = await self.figure("denizen_pool_in_use")
        async with superuser(self.server.superuser_url) as watcher:
            row = await watcher.fetchrow(_OPEN)
        return int(in_use) + int(row["idle"]) + max(0, int(row["every"]) - POOL)


@dataclass(frozen=True, slots=True)
class Stage(Running):
    """One with a wire that faults can be put on, and a server of one's own."""

    server: EmbeddedServer
    proxy: Proxy


@dataclass(frozen=True, slots=True)
class Rows:
    """What is there of a load, by its acts."""

    sets: checkers.Sets
    rows: list[str]
    mails: list[str]
    events: list[str]


async def look(server: Server, load: Load) -> Rows:
    """Read what is there, behind the service's back."""
    async with superuser(server.superuser_url) as watcher:
        rows, mails, events = [
            [row["act"] for row in await watcher.fetch(query, f"{load.prefix}%")]
            for query in (_ROWS, _MAILS, _EVENTS)
        ]
    told = outcomes(load.recorder.tries())
    return Rows(checkers.compare(told, rows), rows, mails, events)


def measured_by(
    load: Load, sets: checkers.Sets, *, row: str, fault: str, expected: str, leaked: int = 0
) -> Measured:
    """Give the row of the report."""
    tries = load.recorder.tries()
    told = outcomes(tries)
    before, during, after = phases(tries, load.recorder.marks)
    return Measured(
        row=row,
        fault=fault,
        expected=expected,
        acts=sum(outcome == "ok" for outcome in told.values()),
        lost=len(sets.lost),
        doubled=len(sets.doubled | sets.phantom),
        unknown=sum(one.outcome == "info" for one in tries),
        unresolved=len(sets.unresolved),
        gap=round(longest_gap(tries), 1),
        p99=(before, during, after),
        leaked=leaked,
    )


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """Run a durable PostgreSQL, the wire, and one service of one worker with a small pool."""
    server = embedded(folder / "database")
    server.start()
    try:
        asyncio.run(fill(server, folder))
        with (
            Proxy(f"{socket_of(server.app_url)}/.s.PGSQL.5432") as proxy,
            served(
                folder, f"postgresql://denizen@127.0.0.1:{proxy.port}/denizen?sslmode=disable"
            ) as (service, metrics),
        ):
            yield Stage(server, service, metrics, sign_in(service), folder, proxy)
    finally:
        server.stop()


@contextlib.contextmanager
def served(folder: Path, url: str, **settings: str) -> Iterator[tuple[Service, int]]:
    """Run a service that is ready; give the port of its figures, too."""
    metrics = free_port()
    settings["DENIZEN_METRICS_PORT"] = str(metrics)
    with started(folder, url, port=None, workers=1, **settings) as service:
        service.until("/readyz", 200)
        yield service, metrics


@contextlib.contextmanager
def started(
    folder: Path, url: str, *, port: int | None = None, workers: int = 1, **settings: str
) -> Iterator[Service]:
    """Start a service with a small pool for each worker."""
    settings |= {
        "DENIZEN_DATABASE_URL": url,
        "DENIZEN_DATABASE_POOL_SIZE": str(POOL),
        "DENIZEN_THROTTLE": "off",
    }
    with serving(folder / "data", "--workers", f"{workers}", port=port, **settings) as service:
        yield service


def embedded(folder: Path) -> EmbeddedServer:
    """Make a PostgreSQL that keeps what it promises, of the version that is tested."""
    chosen = os.environ.get("DENIZEN_TEST_POSTGRES_BIN")
    return EmbeddedServer.for_service(folder, bin_dir=Path(chosen) if chosen else None)


async def fill(server: Server, folder: Path) -> None:
    """Make the tables, and an admin."""
    db = DBSessionManager(server.owner_url)
    db.init()
    await migrate(db, serving_role="denizen")
    await db.close_connections()
    settings = Settings.load(database_url=server.app_url, data_dir=folder / "data", _env_file=None)
    denizen: Denizen[UserModel] = Denizen(settings=settings)
    await denizen.start()
    await an_admin(denizen, email="root@example.com")
    await denizen.stop()


def sign_in(service: Service) -> str:
    """Give the token of the admin."""
    body = {"email": "root@example.com", "password": PASSWORD}
    token: str = service.ask("POST", "/v1/sessions", body).json()["token"]
    return token


def socket_of(url: str) -> str:
    """Give the folder of the socket that a URL names."""
    return urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["host"][0]
