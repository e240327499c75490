"""What the database refuses, as typed errors; the only place that knows SQLSTATEs.

    DataError
    ├── NotInitializedError       the manager was not started: call `init()`
    ├── UnitOfWorkError           the session was used in a way the unit of work forbids
    ├── TakenError                a unique value belongs to another row; names every taken field
    ├── ReferenceMissingError     a foreign key points at nothing, or something still points here
    ├── ConstraintError           a check, NOT NULL or exclusion constraint, or a value out of range
    ├── StaleVersionError         the row changed since the version that the caller holds
    ├── CursorError               a paging cursor that was not made by this list
    ├── ConflictError             serialization failure, deadlock, lock wait: rerun the whole unit
    └── UnavailableError          out of reach, shutting down, full, or too slow; `connection_lost`
        └── OutcomeUnknownError   the answer to COMMIT never came: applied or not, nobody knows

Classification is by SQLSTATE and constraint name, never by message text: the text differs between
drivers, versions and languages. Texts made here hold no SQL, no driver text and no value.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Final

from sqlalchemy import Executable, exc


class DataError(Exception):
    """The root of the data layer's errors; `code` is a stable word for callers."""

    code: str


class NotInitializedError(DataError):
    """Raised when the manager is used before `init()` or after `close_connections()`."""

    code = "not_initialized"

    def __init__(self) -> None:
        super().__init__("the database session manager is not initialized: call init() first")


class UnitOfWorkError(DataError):
    """Raised when a session is told to commit, roll back or close inside its unit of work."""

    code = "unit_of_work"


@dataclass(frozen=True, slots=True)
class TakenQuestion:
    """A statement of one row with a boolean per field: does its value belong to another row?"""

    fields: tuple[str, ...]
    statement: Executable


class TakenError(DataError):
    """Raised when unique values belong to other rows.

    Attributes:
        fields: every taken field, in the model's order. Straight from a failed flush it is the one
            that the constraint's name tells (none, where a cluster sends no name); once the unit
            of work was rolled back it is all of them.
        question: how the unit of work finds that out; None when it has, or can't.
    """

    def __init__(self, fields: tuple[str, ...], question: TakenQuestion | None = None) -> None:
        super().__init__(fields)
        self.fields = fields
        self.question = question

    def __str__(self) -> str:
        """Name the fields, never their values."""
        return f"already taken: {', '.join(self.fields) or 'a unique value'}"

    @property
    def code(self) -> str:  # type: ignore[override]  # the word depends on the first taken field
        """`<field>_taken`, of the first taken field."""
        return f"{self.fields[0]}_taken" if self.fields else "taken"

    def settle(self, answer: Sequence[bool]) -> None:
        """Take the answer to `question`.

        Raises:
            ConflictError: no field is taken any more and none was named: run the unit again.
        """
        if self.question is None:
            return
        fields = zip(self.question.fields, answer, strict=True)
        taken = tuple(field for field, is_taken in fields if is_taken)
        self.question = None
        self.fields = taken or self.fields
        if not self.fields:
            raise ConflictError


class ReferenceMissingError(DataError):
    """Raised when a foreign key points at a missing row, or a row is still pointed at."""

    code = "reference_missing"

    def __init__(self, constraint: str | None) -> None:
        super().__init__(f"foreign key {constraint or ''} is violated".replace("  ", " "))
        self.constraint = constraint


class ConstraintError(DataError):
    """Raised when a check, NOT NULL or exclusion constraint or a column's range refuses a value."""

    code = "constraint"

    def __init__(self, constraint: str | None) -> None:
        super().__init__(f"constraint {constraint or ''} is violated".replace("  ", " "))
        self.constraint = constraint


class StaleVersionError(DataError):
    """Raised when the row's version is not the one that the caller read."""

    code = "version_stale"

    def __init__(self) -> None:
        super().__init__("the row was changed in between; read it again")


class CursorError(DataError):
    """Raised when a cursor is malformed, or made for another order or other filters."""

    code = "cursor_invalid"

    def __init__(self) -> None:
        super().__init__("the cursor does not belong to this list")


class ConflictError(DataError):
    """Raised when concurrent transactions collided; nothing was applied, rerun the unit."""

    code = "conflict"

    def __init__(self, *, lock_wait: bool = False, sqlstate: str | None = None) -> None:
        super().__init__("concurrent transactions collided; nothing was applied")
        self.lock_wait = lock_wait
        self.sqlstate = sqlstate


class UnavailableError(DataError):
    """Raised when the database can't answer; nothing was applied.

    `connection_lost` says that a fresh connection may do better at once.
    """

    code = "database_unavailable"
    message: ClassVar[str] = "the database is unavailable; nothing was applied"

    def __init__(self, *, connection_lost: bool = False, sqlstate: str | None = None) -> None:
        super().__init__(self.message)
        self.connection_lost = connection_lost
        self.sqlstate = sqlstate


class OutcomeUnknownError(UnavailableError):
    """Raised when the connection broke between COMMIT and its answer; never rerun blindly."""

    code = "outcome_unknown"
    message = "the database went away during COMMIT; the change may or may not have been applied"


_DRIVER_MODULES: Final = ("asyncpg", "psycopg")
# what drivers are built on: an error that rises there is the error of whoever called
_BELOW_DRIVERS: Final = sys.stdlib_module_names | {"uvloop"}
# 40001 serialization_failure, 40P01 deadlock_detected, 55P03 lock_not_available
_CONFLICTS: Final = frozenset({"40001", "40P01", "55P03"})
# 57P01-57P05 shutdowns, 25006 read-only (a stale primary), 25P02 the transaction has failed
# before, 25P03 and 25P04 it stood idle or open for too long, 40003 nobody knows whether it was
# completed (never from PostgreSQL itself), 3D000/3F000/42P01/42703: the schema is
# not (yet) there, 42501 the role has no right, 57014 statement time-out, 58030 disk; classes
# 08 connection, 28 login, 53 full
_UNAVAILABLE: Final = frozenset(
    {"25006", "3D000", "3F000", "42501", "42P01", "42703", "57014", "58030"}
    | {f"57P0{number}" for number in range(1, 6)}
)
_UNAVAILABLE_CLASSES: Final = frozenset({"08", "28", "53"})
# 26000: the server has no statement that the driver believes to be prepared on this connection
_LOST: Final = frozenset({"57P01", "57P02", "57P03", "25006", "25P03", "25P04", "26000", "40003"})
_CANCELLED: Final = "57014"
# the last one: the server said that it ends the session, and the socket is not closed yet
_BROKEN: Final = frozenset({"InterfaceError", "OperationalError", "InternalClientError"})
_SWALLOWED: Final = (
    "a statement failed and its error was caught inside the unit: nothing is applied"
)


def translate(error: BaseException, *, committing: bool = False) -> DataError | None:
    """Give the typed error for what a driver or SQLAlchemy raised, or None when it isn't theirs.

    Args:
        error: as caught; an `OSError` or time-out counts only when it rose out of the driver.
        committing: whether COMMIT was already sent: a lost connection then means *unknown*.
    """
    if isinstance(error, DataError):  # while committing, of a hook that ran before or after it
        return OutcomeUnknownError() if committing else error
    if isinstance(error, exc.TimeoutError):  # the pool's: waiting again would only lengthen it
        return UnavailableError()
    if isinstance(error, exc.PendingRollbackError):
        return UnitOfWorkError(_SWALLOWED)
    driver = _driver_error(error)
    state: str | None = getattr(driver, "sqlstate", None)
    if _is_lost(error, driver, state):
        lost = OutcomeUnknownError if committing else UnavailableError
        return lost(connection_lost=True, sqlstate=state)
    return None if state is None else _by_state(state, driver)


def constraint_name(driver: BaseException) -> str | None:
    """Give the violated constraint's name, as asyncpg or psycopg carries it; a cluster may not."""
    named: Any = getattr(driver, "diag", driver)
    name: str | None = getattr(named, "constraint_name", None)
    return name


def is_stale_primary(error: BaseException | None) -> bool:
    """Whether the server refused to write: it was the primary, and its connections are no good."""
    return getattr(error, "sqlstate", None) == "25006"


def is_missing_table(error: BaseException) -> bool:
    """Whether a statement named a table that is not there."""
    return getattr(_driver_error(error), "sqlstate", None) == "42P01"


def has_lost_statements(error: BaseException | None) -> bool:
    """Whether the connection lacks a statement prepared on it: whoever uses it next fails again."""
    return getattr(error, "sqlstate", None) == "26000"


def _driver_error(error: BaseException) -> BaseException:
    if not isinstance(error, exc.DBAPIError) or error.orig is None:
        return error
    return error.orig.__cause__ or error.orig  # asyncpg's own stands behind SQLAlchemy's


def _by_state(state: str, driver: BaseException) -> DataError | None:
    if state == "23505":
        return TakenError(())
    if state.startswith(("22", "23")):
        kind = ReferenceMissingError if state == "23503" else ConstraintError
        return kind(constraint_name(driver))
    if state == "25P02":
        return UnitOfWorkError(_SWALLOWED)
    # a statement prepared before a migration that changed its columns; the next run prepares anew
    if state in _CONFLICTS or type(driver).__name__ == "InvalidCachedStatementError":
        return ConflictError(lock_wait=state == "55P03", sqlstate=state)
    if state in _UNAVAILABLE or state[:2] in _UNAVAILABLE_CLASSES:
        return UnavailableError(sqlstate=state)
    return None


def _is_lost(error: BaseException, driver: BaseException, state: str | None) -> bool:
    if state is not None and (state in _LOST or state.startswith("08")):
        return True
    if state == _CANCELLED:  # by a server that goes on, whatever is done with the connection
        return False
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    if type(driver).__name__ in _BROKEN and state is None:
        return type(driver).__module__.startswith(_DRIVER_MODULES)
    network = (OSError, TimeoutError, asyncio.IncompleteReadError)
    return isinstance(driver, network) and _rose_out_of_driver(driver.__traceback__)


def _rose_out_of_driver(traceback: TracebackType | None) -> bool:
    """Whether a driver's frame is the innermost, not counting what drivers are built on."""
    is_drivers = False
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in _BELOW_DRIVERS:
            is_drivers = module.startswith(_DRIVER_MODULES)
        traceback = traceback.tb_next
    return is_drivers
