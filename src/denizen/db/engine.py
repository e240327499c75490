"""From a connection URL to an engine with every pool and time-out setting at a safe value.

Takes libpq's URLs (`postgresql://user@host1:5432,host2/db?sslmode=...`), which SQLAlchemy does
not, and opens connections through one door that knows hosts, TLS and time-outs. Holds no state.
"""

import asyncio
import os
import ssl
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import asyncpg
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from denizen.db.errors import UnavailableError
from denizen.db.pool import FairPool, refuse_to_connect
from denizen.db.tally import PoolState

_FAILURES: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a host that is no primary is among them
)
_NEVER: Final = 86_400.0  # seconds; the driver has no word for it
_GOODBYE: Final = 0.5  # seconds; with a statement's 4 a caller still knows within 5
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_KNOWN_QUERY: Final = frozenset(
    {"host", "port", "user", "password", "dbname", "sslmode", "sslrootcert", "application_name"}
)
Pooler = Literal["none", "transaction"]
_TLS_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class DatabaseUrlError(ValueError):
    """Raised when a connection URL can't be used; the text never holds the URL or its password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Where the database is, and how long to wait for it.

    Attributes:
        url: `postgresql://user:password@host1:5432,host2/name?sslmode=...`; a socket folder as
            `?host=/folder`. On a remote host without `sslmode` it is `verify-full`.
        pool_size: connections that one process opens as it needs them, and keeps.
        pool_timeout: how long a unit waits for a connection before it fails.
        pool_recycle: age at which a connection is replaced.
        connect_timeout: for each host.
        statement_timeout: for each statement, held by the server and by the driver.
        lock_timeout: for each wait on a row or table.
        idle_timeout: how long a transaction may stand idle before the server ends it.
        commit_timeout: how long the answer to COMMIT is awaited before it counts as unknown.
        replica_urls: servers that follow this one, for reads that may be stale.
        pooler: `transaction` when a pooler such as PgBouncer stands between, and each transaction
            may meet another of the server's connections: nothing is kept on one then.
    """

    url: str
    pool_size: int = 15
    pool_timeout: timedelta = timedelta(seconds=2)
    pool_recycle: timedelta = timedelta(minutes=30)
    connect_timeout: timedelta = timedelta(seconds=2)
    statement_timeout: timedelta = timedelta(seconds=4)
    lock_timeout: timedelta = timedelta(seconds=2)
    idle_timeout: timedelta = timedelta(seconds=10)
    commit_timeout: timedelta = timedelta(seconds=10)
    replica_urls: tuple[str, ...] = ()
    pooler: Pooler = "none"

    def __repr__(self) -> str:
        """Leave the URL out: it may hold a password."""
        return f"DatabaseSettings({describe_url(self.url)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parsed URL: the hosts in their order, and what every one of them is told."""

    hosts: tuple[tuple[str, int], ...]
    user: str | None
    password: str | None
    database: str
    tls: str | ssl.SSLContext | bool
    application_name: str

    @property
    def is_remote(self) -> bool:
        """Whether a host is neither this machine nor a socket folder."""
        return any(not h.startswith("/") and h not in _LOCAL_HOSTS for h, _ in self.hosts)

    @property
    def is_verified(self) -> bool:
        """Whether only the server whose name was asked for is spoken to, encrypted."""
        return isinstance(self.tls, ssl.SSLContext) and self.tls.check_hostname


def parse_url(url: str) -> Target:
    """Read a libpq URL.

    Raises:
        DatabaseUrlError: with what is wrong, without the URL.
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        raise DatabaseUrlError("is not a URL") from None
    if parts.scheme not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise DatabaseUrlError("must begin with postgresql://")
    query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(query.keys() - _KNOWN_QUERY):
        raise DatabaseUrlError(f"has a parameter that is not known: {unknown[0]}")
    login, _, netloc_hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    hosts = _hosts(query.get("host") or urllib.parse.unquote(netloc_hosts), query.get("port", ""))
    database = urllib.parse.unquote(parts.path.lstrip("/")) or query.get("dbname", "")
    if not database:
        raise DatabaseUrlError("names no database: postgresql://user@host/NAME")
    return Target(
        hosts=hosts,
        user=urllib.parse.unquote(user) or query.get("user"),
        password=urllib.parse.unquote(password) or query.get("password"),
        database=database,
        tls=_tls(hosts, query),
        application_name=query.get("application_name", "denizen"),
    )


def describe_url(url: str) -> str:
    """Give hosts and database for logs and settings listings, never a user's password."""
    try:
        target = parse_url(url)
    except DatabaseUrlError as error:
        return f"a URL that {error}"
    hosts = [host if host.startswith("/") else f"{host}:{port}" for host, port in target.hosts]
    return f"{target.database} at {','.join(hosts)}"


def create_engine(settings: DatabaseSettings) -> AsyncEngine:
    """Make the engine; it connects when it is first used.

    A connection that the server closed meanwhile is seen at check-out without a round trip (the
    socket says so) and replaced together with its elders; what even that misses is rerun
    (`denizen.db.retry`). A pre-ping would cost half a read (`bench/`).

    Raises:
        DatabaseUrlError: the URL can't be used.
    """
    return _engine(settings, _Connector([parse_url(settings.url)], settings))


def create_replica_engine(settings: DatabaseSettings) -> AsyncEngine:
    """Make the engine of the replicas: connections are spread over those that answer.

    Whether they lag behind is not asked.

    Raises:
        DatabaseUrlError: a URL can't be used.
    """
    targets = [parse_url(url) for url in settings.replica_urls]
    return _engine(settings, _Spreading(targets, settings))


def _engine(settings: DatabaseSettings, connector: "_Connector") -> AsyncEngine:
    engine = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=FairPool,
        pool_size=settings.pool_size,
        max_overflow=0,  # what is closed after each rush is opened in the next
        pool_use_lifo=True,
        pool_timeout=settings.pool_timeout.total_seconds(),
        pool_recycle=settings.pool_recycle.total_seconds(),
        hide_parameters=True,
        connect_args={"async_creator_fn": connector.connect, **_caches(settings)},
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "do_connect", refuse_to_connect)
    return engine


def pool_state(engine: AsyncEngine) -> PoolState:
    """Tell how the engine's pool is; of a pool that somebody else made nothing is known."""
    pool = engine.pool
    return pool.state if isinstance(pool, FairPool) else PoolState()


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """The driver's connection with two waits of ours.

    COMMIT alone waits without the driver's time-out, which would cancel it half-way. A cancelled
    COMMIT on a cluster with a synchronous standby leaves a local-only commit behind; the unit of
    work has a deadline of its own and cuts the wire instead.

    SQLAlchemy, which throws a failed connection away while the caller waits, gives the server 2
    seconds to say goodbye; one that is frozen never does.
    """

    doubt: Callable[[], None] | None = None  # is told when the wire is cut

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109  # asyncpg's own signature
        patience = _NEVER if query == "COMMIT;" else timeout
        status: str = await super().execute(query, *args, timeout=patience)
        return status

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncpg's own signature
        await super().close(timeout=None if timeout is None else min(timeout, _GOODBYE))

    def terminate(self) -> None:
        if self.doubt is not None:
            self.doubt()
        super().terminate()


class _PooledConnection(_Connection):
    """The same behind a pooler: the time limits come with each transaction.

    A pooler refuses them at the start of a session, or sets them for whoever is next. They travel
    with BEGIN, so they cost no round trip. Single reads outside a transaction have the driver's.
    """

    limits = ""

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109  # asyncpg's own signature
        if query.startswith("BEGIN"):  # after a read without one it names its isolation
            query += self.limits
        return await super().execute(query, *args, timeout=timeout)


class _Connector:
    """Opens connections; tries the hosts from the last good one on, each with its own deadline.

    A standby is none of them: after a fail-over the primary is found again by asking, and a read
    that decides is never answered as things stood a while ago, not even where one address leads to
    whoever a balancer believes in. A pooler can't be asked: what it says is of some connection.

    A primary that let somebody wait in vain is asked last: it may be one that was replaced and was
    never told, whose commits no standby hears of any more.
    """

    def __init__(self, targets: Sequence[Target], settings: DatabaseSettings) -> None:
        self._places = [(target, *place) for target in targets for place in target.hosts]
        self._settings = settings
        self._preferred = 0
        is_asked = settings.pooler == "none" or len(self._places) > 1
        self._wanted = "primary" if is_asked else None
        self._patience = settings.connect_timeout.total_seconds()

    async def connect(self) -> asyncpg.Connection:
        places = self._places
        order = [(self._preferred + step) % len(places) for step in range(len(places))]
        failure: BaseException | None = None
        for index in order:
            try:
                connection = await self._connect(*places[index])
            except _FAILURES as error:
                failure = error
            else:
                self._preferred = self._next(index)
                connection.doubt = partial(self._doubt, index)
                return connection
        state = getattr(failure, "sqlstate", None)
        # a refused login (class 28) or a missing database stays refused: waiting doesn't help
        lasting = state is not None and not state.startswith(("57", "53", "08"))
        raise UnavailableError(connection_lost=not lasting, sqlstate=state) from None

    def _next(self, index: int) -> int:
        """Give where to begin after a connection to that place."""
        return index

    def _doubt(self, index: int) -> None:
        """Begin behind a place where somebody waited in vain."""
        if self._preferred == index:
            self._preferred = (index + 1) % len(self._places)

    async def _connect(self, target: Target, host: str, port: int) -> _Connection:
        settings = self._settings
        connect: Any = asyncpg.connect  # it ships no types
        is_pooled = settings.pooler == "transaction"
        told = {"application_name": target.application_name}
        connection: _Connection = await connect(
            host=host,
            port=port,
            user=target.user,
            password=target.password,
            database=target.database,
            ssl=target.tls,
            timeout=self._patience,
            command_timeout=settings.statement_timeout.total_seconds(),
            connection_class=_PooledConnection if is_pooled else _Connection,
            target_session_attrs=self._wanted,
            server_settings=told if is_pooled else told | _limits(settings),
            **({"statement_cache_size": 0} if is_pooled else {}),
        )
        if isinstance(connection, _PooledConnection):
            connection.limits = _set_local(settings)
        return connection


class _Spreading(_Connector):
    """Opens connections to one place after the other, whatever is there, in the time of one."""

    def __init__(self, targets: Sequence[Target], settings: DatabaseSettings) -> None:
        super().__init__(targets, settings)
        self._wanted = None
        self._preferred = os.getpid() % len(self._places)  # each process begins elsewhere
        self._patience /= len(self._places)  # one that hangs leaves time for the others

    async def connect(self) -> asyncpg.Connection:
        try:
            async with asyncio.timeout(self._settings.connect_timeout.total_seconds()):
                return await super().connect()
        except TimeoutError:
            self._preferred = self._next(self._preferred)
            raise UnavailableError(connection_lost=True) from None

    def _next(self, index: int) -> int:
        return (index + 1) % len(self._places)


def _refuse_closed(dbapi_connection: Any, _record: object, _proxy: object) -> None:
    if dbapi_connection.driver_connection.is_closed():
        raise exc.InvalidatePoolError


def _caches(settings: DatabaseSettings) -> dict[str, int]:
    """Give what keeps SQLAlchemy from preparing a statement where the next one will not be."""
    return {} if settings.pooler == "none" else {"prepared_statement_cache_size": 0}


def _limits(settings: DatabaseSettings) -> dict[str, str]:
    return {
        "statement_timeout": _milliseconds(settings.statement_timeout),
        "lock_timeout": _milliseconds(settings.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_timeout),
        "client_connection_check_interval": "5s",
    }


def _set_local(settings: DatabaseSettings) -> str:
    return "".join(f" SET LOCAL {name} = '{value}';" for name, value in _limits(settings).items())


def _milliseconds(duration: timedelta) -> str:
    return str(round(duration.total_seconds() * 1000))


def _hosts(names: str, ports: str) -> tuple[tuple[str, int], ...]:
    entries = [name for name in names.split(",") if name] or ["localhost"]
    spare = ports.split(",") if ports else []
    result = []
    for number, entry in enumerate(entries):
        default = spare[number] if number < len(spare) else (spare[-1] if spare else "5432")
        host, port = (entry, default) if entry.startswith("/") else _host_port(entry, default)
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise DatabaseUrlError("has a port that is not a number from 1 to 65535")
        result.append((host, int(port)))
    return tuple(result)


def _host_port(entry: str, default: str) -> tuple[str, str]:
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, rest.lstrip(":") or default
    host, _, port = entry.partition(":")
    return host, port or default


def _tls(hosts: tuple[tuple[str, int], ...], query: dict[str, str]) -> str | ssl.SSLContext | bool:
    local = all(host.startswith("/") or host in _LOCAL_HOSTS for host, _ in hosts)
    mode = query.get("sslmode") or ("prefer" if local else "verify-full")
    if mode not in _TLS_MODES:
        raise DatabaseUrlError(f"has an sslmode that is none of {', '.join(_TLS_MODES)}")
    if mode == "disable" or all(host.startswith("/") for host, _ in hosts):
        return False
    if not mode.startswith("verify"):
        return mode
    root = query.get("sslrootcert")
    if root is not None and root != "system" and not Path(root).is_file():
        raise DatabaseUrlError("names an sslrootcert that is not a file")
    context = ssl.create_default_context(cafile=None if root == "system" else root)
    context.check_hostname = mode == "verify-full"
    return context
