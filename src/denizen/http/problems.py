"""Errors as `application/problem+json` (RFC 9457): one table from error class to status and words.

A new leaf in `denizen.errors` or `denizen.db.errors` needs a row here; a test holds that.
"""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from denizen import errors
from denizen.db import errors as db_errors

_log = logging.getLogger(__name__)
MEDIA_TYPE: Final = "application/problem+json"
MAX_ISSUES: Final = 50  # an answer must not be many times its request


@dataclass(frozen=True, slots=True)
class Problem:
    """How one kind of error is told: the status, a title for people, and more about it."""

    status: int
    title: str
    detail: str
    headers: Mapping[str, str] | None = None


RETRY: Final = {"Retry-After": "1"}
UNAVAILABLE: Final = Problem(
    503, "Service unavailable", "The database is out of reach. Nothing was changed.", RETRY
)
PROBLEMS: Final[dict[type[Exception], Problem]] = {
    errors.InvalidError: Problem(422, "Invalid request", "The request breaks a rule."),
    errors.NotFoundError: Problem(404, "Not found", "There is nothing at this address."),
    errors.LastAdminError: Problem(409, "Conflict", "The last active admin has to stay one."),
    errors.OwnAccountError: Problem(409, "Conflict", "Nobody shuts themselves out here."),
    errors.TokenInvalidError: Problem(
        400, "Invalid token", "The link is used up, too old, or was never good; ask for a new one."
    ),
    errors.PasswordWrongError: Problem(403, "Not allowed", "The current password is wrong."),
    errors.RegistrationClosedError: Problem(
        403, "Not allowed", "Registration is closed here; ask an administrator for an account."
    ),
    errors.SignInFailedError: Problem(
        401,
        "Sign-in failed",
        "The e-mail or the password is wrong, or the account can't be used.",
        {"WWW-Authenticate": "Bearer"},
    ),
    errors.NotSignedInError: Problem(
        401, "Not signed in", "A valid bearer token is needed.", {"WWW-Authenticate": "Bearer"}
    ),
    errors.NotAllowedError: Problem(403, "Not allowed", "Your role does not allow this."),
    errors.IdempotencyMismatchError: Problem(
        422, "Invalid request", "This Idempotency-Key was used for another request."
    ),
    errors.IdempotencyBusyError: Problem(
        409, "Conflict", "A request with this Idempotency-Key is still running.", RETRY
    ),
    errors.ThrottledError: Problem(
        429, "Too many requests", "Too many tries; wait as long as `Retry-After` says.", RETRY
    ),
    errors.OverloadedError: Problem(
        503, "Overloaded", "Too much is asked for at once; try again.", RETRY
    ),
    db_errors.TakenError: Problem(409, "Conflict", "A value is already taken by another user."),
    db_errors.StaleVersionError: Problem(
        412, "Precondition failed", "The user was changed in between; read it again."
    ),
    db_errors.CursorError: Problem(422, "Invalid request", "The request breaks a rule."),
    db_errors.ReferenceMissingError: Problem(
        409, "Conflict", "Another record is missing, or still points here."
    ),
    db_errors.ConstraintError: Problem(409, "Conflict", "The database refuses a value."),
    db_errors.ConflictError: Problem(
        503, "Service unavailable", "Too many changes at once; nothing was changed.", RETRY
    ),
    db_errors.UnavailableError: UNAVAILABLE,
    db_errors.OutcomeUnknownError: Problem(
        503,
        "Outcome unknown",
        "The database went away while it was saving: the change may or may not have been made.",
        RETRY,
    ),
}
_HTTP_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
    415: "media_type_unsupported",
    507: "disk_full",
}


def answer(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    issues: Sequence[errors.Issue] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make the answer for an error."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if issues:
        body["errors"] = [{"field": i.field, "code": i.code, "message": i.message} for i in issues]
    extra = dict(headers or {}) | {"Cache-Control": "no-store"}
    return Response(orjson.dumps(body), status, headers=extra, media_type=MEDIA_TYPE)


def from_error(error: errors.DenizenError | db_errors.DataError) -> Response | None:
    """Give the answer for one of our errors; None for one that is a defect of the program."""
    problem = problem_of(error)
    if problem is None:
        return None
    detail, headers = problem.detail, problem.headers
    if isinstance(error, db_errors.TakenError) and error.fields:
        detail = _taken(error.fields[0])
    if isinstance(error, errors.OverloadedError | errors.ThrottledError):
        headers = {"Retry-After": str(error.retry_after)}
    code = "invalid" if isinstance(error, db_errors.CursorError) else error.code
    issues = issues_of(error)
    return answer(problem.status, code, problem.title, detail, issues=issues, headers=headers)


def from_validation(error: RequestValidationError) -> Response:
    """Give the answer for a request that does not fit its schema; no input is echoed."""
    return invalid(*(_issue(one) for one in error.errors()[:MAX_ISSUES]))


def invalid(*issues: errors.Issue) -> Response:
    """Give the 422 that names each field."""
    problem = PROBLEMS[errors.InvalidError]
    return answer(problem.status, "invalid", problem.title, problem.detail, issues=issues)


def from_http(error: HTTPException) -> Response:
    """Give the answer for what the framework refuses: no route, wrong method, unreadable body."""
    code = _HTTP_CODES.get(error.status_code, "refused")
    title = code.replace("_", " ").capitalize()
    detail = {404: "There is nothing at this address."}.get(error.status_code, f"{title}.")
    return answer(error.status_code, code, title, detail, headers=error.headers)


def from_defect(error: BaseException) -> Response:
    """Log a defect by its kind and place, never by its text, and give an answer with its id."""
    incident = log_defect(error)
    detail = f"Something went wrong on our side (incident {incident})."
    return answer(500, "internal", "Internal error", detail)


def log_defect(error: BaseException) -> str:
    """Log a defect by its kind and place, and give the number under which it is found."""
    incident = uuid.uuid4().hex[:12]
    _log.error("incident %s: %s at %s", incident, type(error).__name__, _place(error))
    return incident


class IssueView(BaseModel):
    """One broken rule."""

    field: str
    code: str
    message: str


class ProblemView(BaseModel):
    """An error, as RFC 9457 has it; `code` is stable, `errors` names the fields."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[IssueView] | None = None


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Say in the OpenAPI document which errors a route may answer."""
    schema = {"schema": {"$ref": "#/components/schemas/ProblemView"}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}}
        for status in (*statuses, 500, 503)
    }


def problem_of(error: Exception) -> Problem | None:
    """Give the table's row for an error, or for the class that it is one of."""
    return next((PROBLEMS[c] for c in type(error).__mro__ if c in PROBLEMS), None)


def issues_of(error: Exception) -> tuple[errors.Issue, ...]:
    """Give the broken rules that an error names."""
    if isinstance(error, errors.InvalidError):
        return error.issues
    if isinstance(error, db_errors.CursorError):
        return (errors.Issue("cursor", error.code, "The cursor does not belong to this list."),)
    if isinstance(error, db_errors.TakenError):
        return tuple(errors.Issue(f, f"{f}_taken", _taken(f)) for f in error.fields)
    return ()


def _taken(field: str) -> str:
    return f"{field.replace('_', ' ').capitalize()} is already taken by another user."


def _issue(error: Any) -> errors.Issue:
    place, *where = [str(part) for part in error["loc"]] or ["body"]
    field = ".".join(where) or place
    if error["type"] == "json_invalid":
        field = "body"
    return errors.Issue(field, str(error["type"]), str(error["msg"]))


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    places = []
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "?")
        places.append(f"{module}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(places[-8:])
