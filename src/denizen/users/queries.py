"""Statements about users that need more than a verb; they take `db`."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import (
    ColumnElement,
    Select,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.orm import InstrumentedAttribute

from denizen.clock import Instant
from denizen.db.paging import Order, Page, fetch_page
from denizen.db.unit import Db
from denizen.errors import InvalidError, LastAdminError
from denizen.users.model import UserMixin
from denizen.users.search import has_part, is_meant
from denizen.users.status import Status, has_status
from denizen.users.values import Role, email_key, username_key

U = TypeVar("U", bound=UserMixin)

_AUDITED: Final = ("email", "username", "role", "is_active", "email_verified", "locale")
COUNTED: Final = 1000  # beyond, nobody counts
ORDERS: Final = ("created_at", "-created_at", "email", "-email", "username", "-username")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFilter:
    """Conditions of a list, all of which must hold; None means any.

    Attributes:
        q: part of the address or the name, in any letter case.
        email: the whole address, in any spelling.
        username: the whole name, in any spelling.
        search: whatever somebody knows of a user, as `is_meant` reads it.
        status: what decides whether they can sign in.
        also_leaving: users who are to be erased, too; else those are left out.
        created_before: a moment at which they were there already.
    """

    q: str | None = None
    email: str | None = None
    username: str | None = None
    role: Role | None = None
    is_active: bool | None = None
    email_verified: bool | None = None
    search: str | None = None
    status: Status | None = None
    also_leaving: bool = False
    created_before: datetime | None = None


async def page_users(
    db: Db,
    model: type[U],
    wanted: UserFilter,
    *,
    order: str = "-created_at",
    limit: int = 50,
    cursor: str | None = None,
) -> Page[U]:
    """Give one page of users, in one statement.

    Raises:
        CursorError: the cursor is not one of this list.
    """
    statement = select(model).where(*conditions(model, wanted))
    keyset = _order(model, order)
    return await fetch_page(db, statement, keyset, limit=limit, cursor=cursor, filters=wanted)


async def find_user(db: Db, model: type[U], name: str) -> U | None:
    """Give the user whom an operator means: by id, by e-mail, or by username.

    Also one who is to be erased.
    """
    try:
        user_id = uuid.UUID(name)
    except ValueError:
        pass
    else:
        if (user := await model.get_by_id(db, user_id)) is not None:
            return user
    by = model.get_by_email if "@" in name else model.get_by_username
    return await by(db, name)


async def count_some(db: Db, model: type[U], wanted: UserFilter) -> int:
    """Count users, up to one more than `COUNTED`; in a transaction, for it is given 0.3 seconds.

    Raises:
        UnavailableError: through the unit: it takes longer, since few are found among many.
    """
    await db.execute(text("SET LOCAL statement_timeout = 300"))
    some = select(literal(1)).select_from(model).where(*conditions(model, wanted))
    counted = select(func.count()).select_from(some.limit(COUNTED + 1).subquery())
    return int(await db.scalar(counted))


async def list_some(db: Db, model: type[U], wanted: UserFilter, *, limit: int) -> Sequence[U]:
    """Give up to `limit` users that are wanted, in the order of their ids."""
    mine = select(model).where(*conditions(model, wanted))
    return (await db.scalars(mine.order_by(model.id).limit(limit))).all()


async def list_these(
    db: Db, model: type[U], ids: Collection[uuid.UUID], *, is_locked: bool = False
) -> Sequence[U]:
    """Give the users with these ids in their order, locked in it if need be."""
    mine = select(model).where(model.id.in_(ids)).order_by(model.id)
    return (await db.scalars(mine.with_for_update() if is_locked else mine)).all()


async def is_taken(db: Db, model: type[U], *, email: str, username: str) -> tuple[str, ...]:
    """Give which of the two fields belong to somebody, in the model's order.

    A courtesy that spares a hash; the unique indexes decide.
    """
    keys = (email_key(email), username_key(username))
    statement: Select[*tuple[Any, ...]] = select(model.email_key, model.username_key).where(
        or_(model.email_key == keys[0], model.username_key == keys[1])
    )
    rows = (await db.execute(statement)).all()
    found = (any(row[0] == keys[0] for row in rows), any(row[1] == keys[1] for row in rows))
    return tuple(f for f, taken in zip(("email", "username"), found, strict=True) if taken)


async def keep_an_admin(db: Db, model: type[U], leaving: uuid.UUID) -> None:
    """Make sure that somebody else is an active admin, and stays it until the unit ends.

    All active admins are locked, in one order: of two who dismiss each other one waits, looks
    again, and is refused.

    Raises:
        LastAdminError: nobody else is.
    """
    if await lock_admins(db, model) == [leaving]:
        raise LastAdminError


async def lock_admins(db: Db, model: type[U]) -> list[uuid.UUID]:
    """Give the ids of all active admins, locked in one order."""
    is_staying = (_is_admin(model), model.is_active, model.erase_after.is_(None))
    admins = select(model.id).where(*is_staying)
    return list((await db.scalars(admins.order_by(model.id).with_for_update())).all())


async def has_admin(db: Db, model: type[U]) -> bool:
    """Whether there is an admin, active or not."""
    admins = select(model.id).where(_is_admin(model))
    return bool(await db.scalar(select(admins.exists())))


async def due_for_erasure(
    db: Db, model: type[U], now: Instant, *, limit: int
) -> Sequence[uuid.UUID]:
    """Give the ids of users whose grace period is over, the first of them first."""
    due = select(model.id).where(model.erase_after <= now)
    return (await db.scalars(due.order_by(model.erase_after).limit(limit))).all()


async def lock_due(db: Db, model: type[U], user_id: uuid.UUID, now: Instant) -> U | None:
    """Give a user whose grace period is over, locked; None when another process has them."""
    due = select(model).where(model.id == user_id, model.erase_after <= now)
    found: U | None = await db.scalar(due.with_for_update(skip_locked=True))
    return found


def facts_of(user: UserMixin) -> dict[str, Any]:
    """Give what the audit says of a user: the answer's fields, no secret among them."""
    return {name: getattr(user, name) for name in _AUDITED}


def _is_admin(model: type[UserMixin]) -> ColumnElement[bool]:
    """Ask as the index of admins does: a parameter would have all users read."""
    return model.role == literal_column("'admin'")


def _order(model: type[U], name: str) -> Order:
    columns: dict[str, tuple[InstrumentedAttribute[Any], ...]] = {
        "created_at": (model.created_at, model.id),
        "email": (model.email_key,),
        "username": (model.username_key,),
    }
    plain = name.removeprefix("-")
    return Order(plain, columns[plain], descending=name.startswith("-"))


def conditions(model: type[U], wanted: UserFilter) -> list[ColumnElement[bool]]:
    """Give what holds for the users that are wanted."""
    found = _standing(model, wanted)
    if wanted.q is not None:
        found.append(has_part(model, wanted.q))
    for name, column, key in (
        (wanted.email, model.email_key, email_key),
        (wanted.username, model.username_key, username_key),
    ):
        if name is not None:
            found.append(column == _key_or_nobody(key, name))
    if wanted.role is not None:
        # in the statement, not beside it: the index of those who are few serves no parameter
        found.append(model.role == literal(wanted.role, literal_execute=True))
    if wanted.is_active is not None:
        found.append(model.is_active.is_(wanted.is_active))
    if wanted.email_verified is not None:
        is_null = model.email_verified_at.is_(None)
        found.append(~is_null if wanted.email_verified else is_null)
    return found


def _standing(model: type[U], wanted: UserFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.status is not None:
        found += has_status(model, wanted.status)
    elif not wanted.also_leaving:
        found.append(model.erase_after.is_(None))
    if wanted.created_before is not None:
        found.append(model.created_at < wanted.created_before)
    if wanted.search is not None:
        found.append(is_meant(model, wanted.search))
    return found


def _key_or_nobody(key: Any, text: str) -> str:
    """Give the key, or one that nobody can have: what is no address is nobody's address."""
    try:
        found: str = key(text)
    except InvalidError:
        return ""
    return found
