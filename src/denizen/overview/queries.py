"""How many users there are, in one statement that costs next to nothing at any size."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Table, cast, func, literal_column, select
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table

from denizen.db.unit import Db

COUNTED: Final = 10_000  # so many rows are looked at one by one


@dataclass(frozen=True, slots=True)
class People:
    """How many users there are.

    Attributes:
        users: all of them; more than `COUNTED` only about.
        is_about: whether that is an estimate.
        admins: the administrators.
        leaving: those who are to be erased, up to `COUNTED`.
        disabled: None where there are too many users to look at each.
        unconfirmed: likewise.
    """

    users: int
    is_about: bool
    admins: int
    leaving: int
    disabled: int | None
    unconfirmed: int | None


async def count_people(db: Db, users: Table) -> People:
    """Count users: by the indexes of the few, by looking at all, or by the planner's estimate."""
    columns = users.c
    seen = select(columns.is_active, columns.email_verified_at, columns.erase_after)
    some = seen.limit(COUNTED + 1).subquery().c
    stays = some.erase_after.is_(None)
    admins = select(columns.id).where(columns.role == literal_column("'admin'"))
    leaving = select(columns.id).where(columns.erase_after.is_not(None)).limit(COUNTED)
    catalogue = sql_table("pg_class", sql_column("oid"), sql_column("reltuples"))
    estimate = select(cast(catalogue.c.reltuples, BigInteger))
    statement = select(
        func.count().label("users"),
        func.count().filter(stays, some.is_active.is_(False)).label("disabled"),
        func.count()
        .filter(stays, some.is_active, some.email_verified_at.is_(None))
        .label("unconfirmed"),
        _counted(admins).label("admins"),
        _counted(leaving).label("leaving"),
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
        leaving=row.leaving,
        disabled=None if is_about else row.disabled,
        unconfirmed=None if is_about else row.unconfirmed,
    )


def _counted(found: Any) -> Any:
    return select(func.count()).select_from(found.subquery()).scalar_subquery()
