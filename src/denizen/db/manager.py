"""DBSessionManager: the engine, its units of work and its plain connections.

The only module of the project that commits or rolls back. What a unit's session forbids stands in
`unit.py`, how failures are classified in `errors.py`, how a unit is rerun in `retry.py`.
"""

import asyncio
import contextlib
import os
import socket
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, ExceptionContext, event, text
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    AsyncSessionTransaction,
    async_sessionmaker,
)
from sqlalchemy.orm import sessionmaker

from denizen.db.direct import CompiledStatement, Row, fetch_row
from denizen.db.engine import (
    DatabaseSettings,
    create_engine,
    create_replica_engine,
    pool_state,
)
from denizen.db.errors import (
    NotInitializedError,
    OutcomeUnknownError,
    TakenError,
    UnavailableError,
    UnitOfWorkError,
    has_lost_statements,
    is_stale_primary,
    translate,
)
from denizen.db.pool import drain
from denizen.db.replicas import MissedError, Replicas
from denizen.db.retry import rerun
from denizen.db.tally import DataTally, PoolState
from denizen.db.unit import (
    Db,
    UnitOfWork,
    as_session,
    pending_callbacks,
    refuse_flush,
    refuse_writes,
    run_callbacks,
)

T = TypeVar("T")
DEFAULT_COMMIT_TIMEOUT = timedelta(seconds=10)
_PATIENCE = 5.0  # seconds that units have to end


class HasDatabase(Protocol):
    """Settings of an application that know its database's."""

    def database(self) -> DatabaseSettings:
        """Give the database's settings."""
        ...


class DBSessionManager:
    """Opens units of work on one engine.

    Args:
        source: a URL (`postgresql://user@host/name`), settings (`DatabaseSettings`, or the
            service's own `Settings`), or an engine of your own, which then stays yours:
            `close_connections()` leaves it open.

    Attributes:
        tally: what was done so far.

    Raises:
        DatabaseUrlError: at `init()`, when the URL can't be used.
    """

    def __init__(self, source: str | DatabaseSettings | HasDatabase | AsyncEngine) -> None:
        if isinstance(source, str):
            source = DatabaseSettings(url=source)
        elif not isinstance(source, DatabaseSettings | AsyncEngine):
            source = source.database()
        self.tally = DataTally()
        self._source: DatabaseSettings | AsyncEngine = source
        self._engine: AsyncEngine | None = None
        self._autocommit: AsyncEngine | None = None
        self._replicas: Replicas[DBSessionManager] | None = None
        self._failed: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._commit_timeout = getattr(self._source, "commit_timeout", DEFAULT_COMMIT_TIMEOUT)

    def init(self) -> None:
        """Make the engine; nothing connects yet. A second call changes nothing."""
        if self._engine is not None:
            return
        source = self._source
        engine = source if isinstance(source, AsyncEngine) else self._create_engine(source)
        engine = engine.execution_options()  # the same pool; what listens here is ours alone
        event.listen(engine.sync_engine, "handle_error", self._note_failure)
        event.listen(engine.sync_engine, "before_cursor_execute", _note_begin)
        event.listen(engine.sync_engine, "after_cursor_execute", self._note_end)
        autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        options: dict[str, Any] = {"class_": UnitOfWork, "expire_on_commit": False}
        self._open_unit = async_sessionmaker(engine, **options)
        reads = sessionmaker()
        event.listen(reads, "do_orm_execute", refuse_writes)
        event.listen(reads, "before_flush", refuse_flush)
        options |= {"sync_session_class": reads, "autoflush": False}
        self._open_read = async_sessionmaker(autocommit, **options)
        self._engine, self._autocommit = engine, autocommit
        if isinstance(source, DatabaseSettings):
            self._replicas = self._follow(source)

    def _create_engine(self, settings: DatabaseSettings) -> AsyncEngine:
        return create_engine(settings)

    def _follow(self, settings: DatabaseSettings) -> "Replicas[DBSessionManager] | None":
        """Give what asks the replicas, if there are any."""
        if not settings.replica_urls:
            return None
        reader = _Follower(settings)
        reader.tally = self.tally
        reader.init()
        return Replicas(reader)

    async def close_connections(self) -> None:
        """Close the pool, unless the engine is the caller's; `init()` may be called again.

        Units that have begun may end: they are waited for, up to 5 s. None begins any more.

        Raises:
            NotInitializedError: `init()` was not called.
        """
        engine, replicas = self.engine, self._replicas
        self._engine = self._autocommit = self._replicas = None
        if replicas is not None:
            await replicas.reader.close_connections()
        if not isinstance(self._source, AsyncEngine):
            await drain(engine.pool, _PATIENCE)
            await engine.dispose()

    @property
    def engine(self) -> AsyncEngine:
        """The engine.

        Raises:
            NotInitializedError: `init()` was not called.
        """
        if self._engine is None:
            raise NotInitializedError
        return self._engine

    @property
    def pool(self) -> PoolState:
        """How the pool of connections is; nothing before `init()`."""
        return PoolState() if self._engine is None else pool_state(self._engine)

    @property
    def replica_pool(self) -> PoolState | None:
        """How the pool of the replicas is; None where there are none."""
        return None if self._replicas is None else self._replicas.reader.pool

    @property
    def missed(self) -> int:
        """How many reads that a replica could have answered were left to the primary."""
        return 0 if self._replicas is None else self._replicas.missed

    async def reader(self) -> "DBSessionManager":
        """Give whom to ask for a long read that may be stale: the replicas, or else this."""
        if self._replicas is not None and await self._replicas.are_there():
            return self._replicas.reader
        return self

    @contextlib.asynccontextmanager
    async def make_connection(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection with a transaction: committed at the end, rolled back on any error.

        For Core statements, COPY and migrations; no ORM, no retry.

        Raises:
            DataError: what the database refused; UnavailableError when it is out of reach.
        """
        engine = self.engine
        with translating():
            async with engine.connect() as connection:
                transaction = await connection.begin()
                try:
                    yield connection
                except BaseException:
                    with contextlib.suppress(Exception):  # what fails here is not what failed
                        await asyncio.shield(transaction.rollback())
                    raise
                cancelled = await self._commit(connection, transaction.commit)
            if cancelled is not None:
                raise cancelled

    @contextlib.asynccontextmanager
    async def get_session(
        self, *, join: Db | None = None, read_only: bool = False
    ) -> AsyncIterator[AsyncSession]:
        """Open one unit of work: it commits once at its end and rolls back on any error.

        A connection is taken at the first statement, not before, and is back in the pool before
        after-commit callbacks run. When the block is left, the commit is done.

        Args:
            join: the caller's session: the unit is then a savepoint in the caller's transaction;
                nothing is committed here, and callbacks wait for the caller's commit.
            read_only: each statement runs in autocommit, without a transaction around it; the
                statements may see different moments. Writing is refused, but by `text()`.

        Raises:
            DataError: what the database refused, in place of the driver's error.
            OutcomeUnknownError: the answer to COMMIT never came.
        """
        if join is not None:
            async with self._join(as_session(join)) as session:
                yield session
        elif read_only:
            async with self._read() as unit:
                yield unit
        else:
            async with self._write() as unit:
                yield unit

    async def run(
        self,
        unit: Callable[[Db], Awaitable[T]],
        *,
        join: Db | None = None,
        read_only: bool = False,
        may_be_stale: bool = False,
    ) -> T:
        """Give the result of `unit(db)`, run as one unit of work and rerun as a whole if need be.

        Reruns follow `denizen.db.retry`. With `join` the caller's transaction is the unit: it
        runs once, and the caller decides.

        Args:
            unit: what to do.
            join: as `get_session()`.
            read_only: as `get_session()`.
            may_be_stale: with `read_only`: a replica may answer, as things stood a while ago.

        Raises:
            DataError: as `get_session()`.
        """
        if may_be_stale and join is None and self._replicas is not None:
            with contextlib.suppress(MissedError):
                return await self._replicas.read(unit)

        async def once() -> T:
            async with self.get_session(join=join, read_only=read_only) as db:
                return await unit(db)

        if join is not None:
            return await once()
        return await rerun(once, reasons=self.tally.reruns)

    async def fetch_row(self, statement: CompiledStatement, **values: object) -> Row | None:
        """Give the first row of a read compiled once, straight from the driver; None without one.

        No ORM, no transaction, one round trip: for paths where every request passes.

        Raises:
            UnavailableError: the database is out of reach.
        """
        engine = self.engine

        async def once() -> Row | None:
            with translating():
                return await fetch_row(engine, statement, values, self.tally.statements)

        return await rerun(once, reasons=self.tally.reruns)

    @contextlib.asynccontextmanager
    async def _write(self) -> AsyncIterator[UnitOfWork]:
        if self._engine is None:
            raise NotInitializedError
        db: UnitOfWork = self._open_unit()
        try:
            with translating():
                yield db
                cancelled = await self._finish(db)
        except BaseException as error:
            await asyncio.shield(_end(db))
            if isinstance(error, TakenError):
                await self._name_taken(error)
            raise
        await asyncio.shield(_end(db))
        await asyncio.shield(run_callbacks(pending_callbacks(db)))
        if cancelled is not None:
            raise cancelled

    async def _finish(self, db: UnitOfWork) -> asyncio.CancelledError | None:
        await db.flush()
        if not db.in_transaction():
            return None
        return await self._commit(await db.connection(), lambda: AsyncSession.commit(db))

    async def _commit(
        self, connection: AsyncConnection, commit: Callable[[], Awaitable[None]]
    ) -> asyncio.CancelledError | None:
        """Commit, outlasting a cancellation (given back); past the deadline cut the wire.

        When the commit fails and was cancelled, the cancellation is raised: a failure would have
        the unit rerun for nobody.
        """
        if connection.sync_connection in self._failed:
            # somebody caught a statement's error: to COMMIT after one, the server answers ROLLBACK,
            # and the driver calls that a success; a statement is refused
            await connection.execute(text("SELECT 1"))
        driver = await driver_connection(connection)
        if _is_closed(driver):  # COMMIT was never sent
            raise UnavailableError(connection_lost=True)
        task = asyncio.ensure_future(commit())
        cancelled = await _wait(task, self._commit_timeout.total_seconds())
        failure = task.exception() if task.done() else await _cut(driver, task)
        if failure is None:
            return cancelled
        raise cancelled or translate(failure, committing=True) or failure from None

    def _note_end(self, _connection: Any, _cursor: Any, *told: Any) -> None:
        *_, context, _is_many = told
        self.tally.statements.add(time.perf_counter() - context.denizen_began)

    def _note_failure(self, context: ExceptionContext) -> None:
        began = getattr(context.execution_context, "denizen_began", None)
        if began is not None:
            self.tally.statements.add(time.perf_counter() - began)
        if context.connection is not None:
            self._failed.add(context.connection)
        if is_stale_primary(context.original_exception):
            context.is_disconnect = True  # it and the whole pool are replaced
        elif has_lost_statements(context.original_exception) or _is_torn(context):
            context.is_disconnect, context.invalidate_pool_on_disconnect = True, False

    @contextlib.asynccontextmanager
    async def _read(self) -> AsyncIterator[UnitOfWork]:
        if self._engine is None:
            raise NotInitializedError
        db: UnitOfWork = self._open_read()
        db.is_read_only = True
        try:
            with translating():
                yield db
                await db.flush()  # what is pending is refused
        finally:
            await asyncio.shield(_end(db))

    @contextlib.asynccontextmanager
    async def _join(self, db: AsyncSession) -> AsyncIterator[AsyncSession]:
        if isinstance(db, UnitOfWork) and db.is_read_only:
            raise UnitOfWorkError("a read-only unit can't be joined")
        try:
            with translating():
                async with db.begin_nested() as savepoint:
                    yield db
                    _check_open(savepoint)
        except BaseException as error:
            if isinstance(error, TakenError) and error.question is not None:
                answer = await db.execute(error.question.statement)
                error.settle(tuple(answer.one()))
            raise

    async def _name_taken(self, error: TakenError) -> None:
        """Ask which of the unique values are taken: the failed transaction could name but one."""
        if error.question is None or self._autocommit is None:
            return
        with translating():
            async with self._autocommit.connect() as connection:
                answer = await connection.execute(error.question.statement)
                error.settle(tuple(answer.one()))


class _Follower(DBSessionManager):
    """The same for the replicas, which follow, and which nobody follows."""

    def _create_engine(self, settings: DatabaseSettings) -> AsyncEngine:
        return create_replica_engine(settings)

    def _follow(self, settings: DatabaseSettings) -> None:
        del settings


@contextlib.contextmanager
def translating() -> Any:
    """Turn what the driver and SQLAlchemy raise inside into the data layer's typed errors.

    The original is left out of the chain: its text holds SQL and, in DETAIL, values.
    """
    try:
        yield
    except Exception as error:
        typed = translate(error)
        if typed is None or typed is error:
            raise
        raise typed from None


def _note_begin(_connection: Any, _cursor: Any, *told: Any) -> None:
    *_, context, _is_many = told
    context.denizen_began = time.perf_counter()


def _is_torn(context: ExceptionContext) -> bool:
    """Whether BEGIN, COMMIT or ROLLBACK failed so that not everybody knows what is open now.

    SQLAlchemy believes that nothing is. But a COMMIT or ROLLBACK that was cancelled leaves the
    transaction open on the server, and asyncpg believes in a BEGIN that was refused: whoever came
    next would fail on either.
    """
    connection = context.connection
    if context.is_disconnect or connection is None or connection.closed or connection.invalidated:
        return False
    driver: Any = connection.connection.driver_connection
    if getattr(connection.connection.dbapi_connection, "_transaction", driver) is not None:
        return False  # it will be rolled back; or it is psycopg, which asks the server
    return bool(driver.is_in_transaction() or getattr(driver, "_top_xact", None))


def _check_open(savepoint: AsyncSessionTransaction) -> None:
    if not savepoint.is_active:
        raise UnitOfWorkError("the transaction was ended inside the joined unit")


async def driver_connection(connection: AsyncConnection) -> Any:
    """Give the driver's own connection under SQLAlchemy's."""
    raw = await connection.get_raw_connection()
    return raw.driver_connection


def _is_closed(driver: Any) -> bool:
    """Whether the driver knows that its connection is gone; psycopg learns it by writing alone."""
    return bool(getattr(driver, "is_closed", bool)())


async def _cut(driver: Any, commit: asyncio.Future[None]) -> OutcomeUnknownError:
    """Break the wire under a commit that waits: to cancel it would tear it."""
    commit.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody else asks
    if hasattr(driver, "terminate"):
        driver.terminate()
    else:  # psycopg
        with socket.socket(fileno=os.dup(driver.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)
    await asyncio.wait({commit}, timeout=1)
    return OutcomeUnknownError(connection_lost=True)


async def _wait(task: asyncio.Future[None], timeout: float) -> asyncio.CancelledError | None:  # noqa: ASYNC109  # a deadline that survives being cancelled
    """Wait for the task to be done or the time to be over; remember, but outlast, cancellation."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    cancelled: asyncio.CancelledError | None = None
    while not task.done() and (left := deadline - loop.time()) > 0:
        try:
            await asyncio.wait({task}, timeout=left)
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


async def _end(db: UnitOfWork) -> None:
    """Roll back what is open and give the connection back; a dead connection is simply dropped."""
    with contextlib.suppress(Exception):
        await AsyncSession.close(db)
