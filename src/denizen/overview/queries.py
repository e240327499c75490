"""How many users there are, in one statement that costs next to nothing at any size."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Table,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table

from denizen.db.unit import Db

COUNTED: Final = 10_000  # so many are counted one by one


@dataclass(frozen=True, slots=True)
class People:
    """How many users there are: of some kind one more than `COUNTED` where there are more.

    Attributes:
        users: all of them; more than `COUNTED` only about.
        is_about: whether that is an estimate.
        admins: the administrators.
        unconfirmed: who has a password and could sign in, were the address confirmed; None where
            too many addresses are not confirmed to look whose they are.
        disabled: whose account is disabled.
        leaving: who is to be erased.
    """

    users: int
    is_about: bool
    admins: int
    unconfirmed: int | None
    disabled: int
    leaving: int


async def count_people(db: Db, users: Table) -> People:
    """Count users: the few by their indexes, all of them up to a limit, above it by estimate."""
    columns = users.c
    stays = columns.erase_after.is_(None)
    unseen = select(users).where(columns.email_verified_at.is_(None)).limit(COUNTED + 1).subquery()
    waits = (
        unseen.c.hashed_password.is_not(None),
        unseen.c.is_active,
        unseen.c.erase_after.is_(None),
    )
    catalogue = sql_table("pg_class", sql_column("oid"), sql_column("reltuples"))
    estimate = select(cast(catalogue.c.reltuples, BigInteger))
    statement = select(
        _up_to(users).label("users"),
        _up_to(users, columns.role == literal_column("'admin'"), stays).label("admins"),
        select(func.count()).select_from(unseen).scalar_subquery().label("unseen"),
        select(func.count()).select_from(unseen).where(*waits).scalar_subquery().label("waiting"),
        _up_to(users, columns.is_active.is_(False), stays).label("disabled"),
        _up_to(users, columns.erase_after.is_not(None)).label("leaving"),
        estimate.where(catalogue.c.oid == func.to_regclass(users.fullname))
        .scalar_subquery()
        .label("estimate"),
    )
    row = (await db.execute(statement)).one()
    is_about = row.users > COUNTED
    return People(
        users=max(row.users, row.estimate or 0) if is_about else row.users,
        is_about=is_about,
        admins=row.admins,
        unconfirmed=row.waiting if row.unseen <= COUNTED else None,
        disabled=row.disabled,
        leaving=row.leaving,
    )


def _up_to(users: Table, *conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    """Count those for whom all of it holds, and no more than one beyond the limit."""
    found = select(users.c.id).where(*conditions).limit(COUNTED + 1).subquery()
    return select(func.count()).select_from(found).scalar_subquery()
