"""The statements of an export. PostgreSQL itself writes CSV and JSON, so that rows only pass."""

from typing import Any, Final, Literal, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Select, String, Table, case, cast, func, select
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table

from denizen.db.unit import Db
from denizen.spreadsheet import STARTS
from denizen.users.model import UserMixin
from denizen.users.queries import UserFilter, conditions

U = TypeVar("U", bound=UserMixin)
Format = Literal["csv", "jsonl"]

_INSTANT: Final = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'  # RFC 3339


def export_statement(
    model: type[U], wanted: UserFilter, form: Format, *, with_hashes: bool
) -> Select[*tuple[Any, ...]]:
    """Select users as rows of CSV, or as one column of JSON objects.

    The fields are those of every answer, with the instant at which the address was confirmed.
    """
    is_csv = form == "csv"
    columns: dict[str, Any] = {
        "id": model.id,
        "email": _inert(model.email) if is_csv else model.email,
        "username": _inert(model.username) if is_csv else model.username,
        "role": model.role,
        "is_active": _flag(model.is_active, is_text=is_csv),
        "email_verified": _flag(model.email_verified_at.is_not(None), is_text=is_csv),
        "email_verified_at": _instant(model.email_verified_at),
        "locale": model.locale,
        "created_at": _instant(model.created_at),
        "updated_at": _instant(model.updated_at),
        "version": model.version,
    }
    if with_hashes:
        columns["hashed_password"] = model.hashed_password
    rows = select(*(column.label(name) for name, column in columns.items()))
    rows = rows.where(*conditions(model, wanted))
    return rows if is_csv else select(func.row_to_json(rows.subquery().table_valued()))


async def estimate_users(db: Db, users: Table) -> int:
    """Give about how many users there are, at no cost; 0 when the database has not counted yet."""
    catalogue = sql_table("pg_class", sql_column("oid"), sql_column("reltuples"))
    rows = cast(catalogue.c.reltuples, BigInteger)
    statement = select(rows).where(catalogue.c.oid == func.to_regclass(users.fullname))
    return max(0, await db.scalar(statement) or 0)


def _flag(column: Any, *, is_text: bool) -> Any:
    return cast(column, String) if is_text else column


def _instant(column: Any) -> ColumnElement[str]:
    return func.to_char(func.timezone("UTC", column), _INSTANT)


def _inert(column: Any) -> ColumnElement[str]:
    """Give text as `spreadsheet.inert` does."""
    return case((func.left(column, 1).in_(STARTS), "'" + column), else_=column)
