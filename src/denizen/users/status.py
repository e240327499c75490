"""What decides whether somebody can sign in: one word for each user, in Python and in SQL.

The first that holds: to be erased, disabled, invited (without a password yet), not confirmed.
"""

from typing import Final, Literal, get_args

from sqlalchemy import ColumnElement

from denizen.users.model import UserMixin

Status = Literal["active", "unconfirmed", "invited", "disabled", "leaving"]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)


def status_of(user: UserMixin) -> Status:
    """Give a user's status."""
    if user.erase_after is not None:
        return "leaving"
    if not user.is_active:
        return "disabled"
    if user.hashed_password is None:
        return "invited"
    return "active" if user.email_verified else "unconfirmed"


def has_status(model: type[UserMixin], status: Status) -> list[ColumnElement[bool]]:
    """Give the conditions that hold for the users of a status, and for no others."""
    if status == "leaving":
        return [model.erase_after.is_not(None)]
    found: list[ColumnElement[bool]] = [model.erase_after.is_(None)]
    found.append(model.is_active.is_(status != "disabled"))
    if status == "invited":
        found.append(model.hashed_password.is_(None))
    elif status != "disabled":
        found.append(model.hashed_password.is_not(None))
        is_null = model.email_verified_at.is_(None)
        found.append(is_null if status == "unconfirmed" else ~is_null)
    return found
