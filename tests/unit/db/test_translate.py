"""Driver errors by SQLSTATE, never by text."""

import asyncpg
import psycopg
import pytest
from sqlalchemy import exc

from denizen.db import errors
from denizen.db.errors import DataError, translate


@pytest.mark.parametrize(
    ("driver", "kind"),
    [
        (asyncpg.UniqueViolationError, errors.TakenError),
        (asyncpg.ForeignKeyViolationError, errors.ReferenceMissingError),
        (asyncpg.CheckViolationError, errors.ConstraintError),
        (asyncpg.NotNullViolationError, errors.ConstraintError),
        (asyncpg.StringDataRightTruncationError, errors.ConstraintError),
        (asyncpg.SerializationError, errors.ConflictError),
        (asyncpg.DeadlockDetectedError, errors.ConflictError),
        (asyncpg.LockNotAvailableError, errors.ConflictError),
        (asyncpg.AdminShutdownError, errors.UnavailableError),
        (asyncpg.CannotConnectNowError, errors.UnavailableError),
        (asyncpg.TooManyConnectionsError, errors.UnavailableError),
        (asyncpg.QueryCanceledError, errors.UnavailableError),
        (asyncpg.UndefinedTableError, errors.UnavailableError),
        (asyncpg.DiskFullError, errors.UnavailableError),
        (asyncpg.ReadOnlySQLTransactionError, errors.UnavailableError),
        (asyncpg.ConnectionDoesNotExistError, errors.UnavailableError),
        (asyncpg.InternalClientError, errors.UnavailableError),
        (asyncpg.InvalidSQLStatementNameError, errors.UnavailableError),
        (psycopg.errors.UniqueViolation, errors.TakenError),
        (psycopg.errors.DeadlockDetected, errors.ConflictError),
        (psycopg.errors.AdminShutdown, errors.UnavailableError),
    ],
)
def test_each_state_has_its_kind(driver: type[Exception], kind: type[DataError]) -> None:
    """Whatever the text says, the state decides; the text does not come along."""
    found = translate(driver("canary: deadlock, duplicate key, connection lost"))

    assert type(found) is kind
    assert "canary" not in str(found)


@pytest.mark.parametrize("driver", [asyncpg.PostgresSyntaxError, asyncpg.InvalidPasswordError])
def test_defects_and_refused_log_ins_are_not_retried(driver: type[Exception]) -> None:
    """A wrong statement is a defect; a refused log-in is no lost connection."""
    found = translate(driver("x"))

    assert found is None or not getattr(found, "connection_lost", False)


def test_lost_connection_is_unknown_only_after_commit_was_sent() -> None:
    """Before COMMIT nothing was applied; after it nobody knows; a refusal of COMMIT is known."""
    lost = asyncpg.ConnectionDoesNotExistError("x")

    assert type(translate(lost)) is errors.UnavailableError
    assert type(translate(lost, committing=True)) is errors.OutcomeUnknownError
    refused = translate(asyncpg.UniqueViolationError("x"), committing=True)
    assert type(refused) is errors.TakenError


def test_error_of_a_hook_around_the_commit_tells_nothing_of_its_outcome() -> None:
    """What a host does after COMMIT may fail for want of a database: the unit is not rerun."""
    for error in (errors.ConflictError(), errors.UnavailableError(connection_lost=True)):
        assert type(translate(error, committing=True)) is errors.OutcomeUnknownError
        assert translate(error) is error


def test_waiting_for_the_pool_is_not_repeated() -> None:
    """A full pool is told at once: waiting once more would only lengthen the queue."""
    found = translate(exc.TimeoutError())

    assert isinstance(found, errors.UnavailableError)
    assert not found.connection_lost


@pytest.mark.parametrize("error", [OSError("mine"), TimeoutError(), ValueError(), KeyError()])
def test_errors_of_others_are_left_alone(error: Exception) -> None:
    """What did not rise out of a driver is not the database's."""
    assert translate(error) is None
