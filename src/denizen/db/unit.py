"""The unit of work's session, the type `Db` that everything below accepts, and `after_commit`.

How a unit is opened, joined and committed stands in `manager.py`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NoReturn, Protocol, TypeVar

from sqlalchemy import Executable, Result, ScalarResult, event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from denizen.db.errors import UnitOfWorkError

T = TypeVar("T")
Callback = Callable[[], Awaitable[object]]

_log = logging.getLogger(__name__)
_CALLBACKS: Final = "denizen.after_commit"
_running: set[asyncio.Task[None]] = set()  # the loop holds tasks weakly


class Db(Protocol):
    """What verbs, queries and scenarios may do with a session: everything but end its transaction.

    Any `AsyncSession` is one. A `commit` or `rollback` on it is a type error.
    """

    def add(self, instance: object) -> None:
        """Put an object under the session's care; the next flush inserts it."""
        ...

    async def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Write what is pending."""
        ...

    async def delete(self, instance: object) -> None:
        """Mark an object for deletion; the next flush deletes it."""
        ...

    async def get(self, entity: type[T], ident: Any, *, with_for_update: Any = None) -> T | None:
        """Give the row with that primary key, or None."""
        ...

    async def execute(self, statement: Executable, params: Any = None) -> Result[*tuple[Any, ...]]:
        """Run a statement."""
        ...

    async def scalar(self, statement: Executable, params: Any = None) -> Any:
        """Run a statement and give the first column of its first row, or None."""
        ...

    async def scalars(self, statement: Executable, params: Any = None) -> ScalarResult[Any]:
        """Run a statement and give the first column of its rows."""
        ...


class UnitOfWork(AsyncSession):
    """The session of one unit of work: `get_session()` alone commits, rolls back and closes it."""

    is_read_only: bool = False

    async def commit(self) -> NoReturn:
        """Refuse: the unit commits once, at its end."""
        raise UnitOfWorkError("the unit of work commits at its end; don't commit inside it")

    async def rollback(self) -> NoReturn:
        """Refuse: raise an error, and the unit rolls back."""
        raise UnitOfWorkError("the unit of work rolls back when an error leaves it; raise one")

    async def close(self) -> NoReturn:
        """Refuse: the unit closes its session."""
        raise UnitOfWorkError("the unit of work closes its session at its end")

    async def reset(self) -> NoReturn:
        """Refuse, as `close` does."""
        raise UnitOfWorkError("the unit of work closes its session at its end")

    async def invalidate(self) -> NoReturn:
        """Refuse, as `close` does."""
        raise UnitOfWorkError("the unit of work closes its session at its end")

    def begin(self) -> NoReturn:
        """Refuse: the unit is the transaction; `begin_nested()` gives a savepoint."""
        raise UnitOfWorkError("the unit of work is the transaction; begin_nested() is a savepoint")


def after_commit(db: Db, callback: Callback) -> None:
    """Call and await `callback` once the transaction that `db` belongs to is committed.

    In a unit of work it is awaited before `get_session()` returns, with the connection already
    given back. In a host's own session it runs as a task after the host's commit. It is dropped
    when the transaction, or the savepoint it was asked for in, is rolled back. What it raises is
    logged and changes nothing: what must happen belongs into a row of the same transaction.
    """
    session = as_session(db)
    if _CALLBACKS not in session.info:
        session.info[_CALLBACKS] = []
        event.listen(session.sync_session, "after_soft_rollback", _drop_callbacks)
        if not isinstance(session, UnitOfWork):
            event.listen(session.sync_session, "after_commit", _start_callbacks)
            event.listen(session.sync_session, "after_transaction_end", _drop_left_over)
    asked_in = session.sync_session.get_nested_transaction()
    session.info[_CALLBACKS].append((asked_in, callback))


def as_session(db: Db) -> AsyncSession:
    """Give `db` as the `AsyncSession` that it must be where savepoints or callbacks are needed.

    Raises:
        UnitOfWorkError: it is something else.
    """
    if not isinstance(db, AsyncSession):
        raise UnitOfWorkError("expected an AsyncSession")
    return db


def pending_callbacks(session: AsyncSession) -> list[Callback]:
    """Give the callbacks registered so far."""
    return [callback for _, callback in session.info.get(_CALLBACKS, [])]


def refuse_writes(state: ORMExecuteState) -> None:
    """Refuse a statement that writes, in a session that is read-only."""
    if state.is_insert or state.is_update or state.is_delete:
        raise UnitOfWorkError("a read-only unit can't write")


def refuse_flush(_session: Session, *_details: object) -> None:
    """Refuse to write what is pending, in a session that is read-only."""
    raise UnitOfWorkError("a read-only unit can't write")


async def run_callbacks(callbacks: list[Callback]) -> None:
    """Await each callback in turn; log what they raise by its type, for texts may hold secrets."""
    for callback in callbacks:
        try:
            await callback()
        except Exception as error:  # noqa: BLE001  # the transaction stands, whatever they do
            _log.error("an after-commit callback failed: %s", type(error).__name__)


def _start_callbacks(session: Session) -> None:
    if session.in_nested_transaction():
        return
    if asked := session.info[_CALLBACKS]:
        session.info[_CALLBACKS] = []
        callbacks = [callback for _, callback in asked]
        task = asyncio.get_running_loop().create_task(run_callbacks(callbacks))
        _running.add(task)
        task.add_done_callback(_running.discard)


def _drop_callbacks(session: Session, ended: SessionTransaction) -> None:
    asked = session.info[_CALLBACKS]
    session.info[_CALLBACKS] = [one for one in asked if not _is_within(one[0], ended)]


def _drop_left_over(session: Session, ended: SessionTransaction) -> None:
    if ended.parent is None:  # closed without a commit: the session may be used again
        session.info[_CALLBACKS] = []


def _is_within(savepoint: SessionTransaction | None, ended: SessionTransaction) -> bool:
    """Whether what was asked for in that savepoint (None: in none) went with `ended`."""
    while savepoint is not None and savepoint is not ended:
        savepoint = savepoint.parent  # a savepoint that was released belongs to the one around it
    return savepoint is ended or ended.parent is None
