"""Every error of the domain, and nothing of HTTP: the statuses stand in `denizen.http.problems`.

    DenizenError
    ├── InvalidError              a value breaks a rule; names each field
    ├── NotFoundError             nobody has that id
    ├── LastAdminError            the act would leave no active admin
    ├── OwnAccountError           the act would shut its own actor out
    ├── TokenInvalidError         a link is used, expired, superseded, foreign or guessed
    ├── PasswordWrongError        the current password, asked for again, is wrong
    ├── RegistrationClosedError   strangers may not register here
    ├── SignInFailedError         wrong, unknown, disabled or unconfirmed: one answer for all
    ├── NotSignedInError          no token, or one that is not (or no longer) good
    ├── IdempotencyMismatchError  an Idempotency-Key was used for another request
    ├── IdempotencyBusyError      a request with that Idempotency-Key is running
    ├── NotAllowedError           signed in, but the role does not reach this far
    ├── ThrottledError            too many tries of one kind; names the limit, and when to come back
    └── OverloadedError           too much at once: the hash pool's queue, exports; try later

The data layer has a tree of its own (`denizen.db.errors`): taken values, stale versions, bad
cursors and an unreachable database come from there. Each leaf of both has a stable `code`.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Issue:
    """One broken rule: the `field` it is about, a stable `code` and a sentence for people."""

    field: str
    code: str
    message: str


class DenizenError(Exception):
    """The root of the domain's errors; `code` is the stable word that callers may test for."""

    code: ClassVar[str]


class InvalidError(DenizenError):
    """Raised when values break rules; `issues` names every field that does."""

    code = "invalid"

    def __init__(self, *issues: Issue) -> None:
        super().__init__("; ".join(f"{issue.field}: {issue.message}" for issue in issues))
        self.issues = issues


class NotFoundError(DenizenError):
    """Raised when the thing asked for does not exist, or is not the caller's to see."""

    code = "not_found"


class LastAdminError(DenizenError):
    """Raised when an act would demote, disable or delete the last active admin."""

    code = "last_admin"


class OwnAccountError(DenizenError):
    """Raised where others are administered, for what nobody may do to their own account there."""

    code = "own_account"


class TokenInvalidError(DenizenError):
    """Raised for every one-time token that does not work, whatever the reason."""

    code = "token_invalid"


class PasswordWrongError(DenizenError):
    """Raised when somebody signed in gives a wrong current password where it is asked for again."""

    code = "password_wrong"


class RegistrationClosedError(DenizenError):
    """Raised when somebody registers and `DENIZEN_REGISTRATION` is not `open`."""

    code = "registration_closed"


class SignInFailedError(DenizenError):
    """Raised for every sign-in that fails, whatever the reason: strangers learn nothing from it."""

    code = "sign_in_failed"


class NotSignedInError(DenizenError):
    """Raised when a request needs a live session and has none."""

    code = "not_signed_in"


class IdempotencyMismatchError(DenizenError):
    """Raised when an Idempotency-Key comes with another request than the first time."""

    code = "idempotency_mismatch"


class IdempotencyBusyError(DenizenError):
    """Raised when a request with the same Idempotency-Key has not been answered yet."""

    code = "idempotency_busy"


class NotAllowedError(DenizenError):
    """Raised when the signed-in person's role does not allow the act."""

    code = "not_allowed"


class ThrottledError(DenizenError):
    """Raised when a limit on tries is reached.

    Attributes:
        limit: the name of the limit (`denizen.throttle.model`), for the program; callers from
            outside are not told it.
        retry_after: whole seconds until one more try passes, at least 1.
    """

    code = "throttled"

    def __init__(self, limit: str, retry_after: int) -> None:
        super().__init__(f"too many tries; try again in {retry_after} s")
        self.limit = limit
        self.retry_after = retry_after


class OverloadedError(DenizenError):
    """Raised when the queue for hashing is full, memory is out, or too many exports are under way.

    Attributes:
        retry_after: in whole seconds.
    """

    code = "overloaded"

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__(f"too much is asked for at once; try again in {retry_after} s")
        self.retry_after = retry_after
