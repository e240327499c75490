"""The statements of an export. PostgreSQL itself writes CSV and JSON, so that rows only pass."""

import re
from typing import Any, Final, Literal, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Select,
    String,
    Table,
    and_,
    case,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table

from denizen.db.unit import Db
from denizen.spreadsheet import STARTS
from denizen.users.model import UserMixin
from denizen.users.queries import UserFilter, conditions

U = TypeVar("U", bound=UserMixin)
Format = Literal["csv", "jsonl"]

# whatever a spreadsheet would compute begins with less, or with more
_FIRST_LETTER: Final = "A"
_BEYOND_LETTERS: Final = "\uff0b"
# where `denizen.spreadsheet` puts a `'`
_FORMULAS: Final = f"(^|;)(?=[{re.escape(''.join(STARTS))}])"


def export_statement(
    model: type[U], wanted: UserFilter, form: Format, *, with_hashes: bool
) -> Select[*tuple[Any, ...]]:
    """Select users as rows of CSV, or as one column of JSON objects; for a session in UTC.

    The fields are those of every answer, with the instant at which the address was confirmed.
    """
    columns: dict[str, Any] = {
        "id": model.id,
        "email": model.email,
        "username": model.username,
        "role": model.role,
        "is_active": model.is_active,
        "email_verified": model.email_verified_at.is_not(None),
        "email_verified_at": model.email_verified_at,
        "locale": model.locale,
        "created_at": model.created_at,
        "updated_at": model.updated_at,
        "version": model.version,
    }
    if with_hashes:
        columns["hashed_password"] = model.hashed_password
    if form == "csv":
        columns = {name: _cell(column) for name, column in columns.items()}
    rows = select(*(column.label(name) for name, column in columns.items()))
    rows = rows.where(*conditions(model, wanted))
    return rows if form == "csv" else select(func.row_to_json(rows.subquery().table_valued()))


async def estimate_users(db: Db, users: Table) -> int:
    """Give about how many users there are, at no cost; 0 when the database has not counted yet."""
    catalogue = sql_table("pg_class", sql_column("oid"), sql_column("reltuples"))
    rows = cast(catalogue.c.reltuples, BigInteger)
    statement = select(rows).where(catalogue.c.oid == func.to_regclass(users.fullname))
    return max(0, await db.scalar(statement) or 0)


def _cell(column: Any) -> Any:
    """Give a cell of CSV: words for booleans, RFC 3339 for instants, nothing to be computed."""
    if isinstance(column.type, Boolean):
        return cast(column, String)
    if isinstance(column.type, DateTime):  # to_char would take as long as all the rest
        return func.replace(cast(column, String), " ", "T") + ":00"
    if column.key not in {"email", "username"}:
        return column
    # cheaper than to look at each; no name and no address has another separator in it
    is_whole = func.strpos(column, ";") == 0
    first = column.collate("C")
    is_letter = and_(first >= _FIRST_LETTER, first < _BEYOND_LETTERS)
    is_harmless = or_(is_letter, func.left(column, 1).not_in(STARTS))
    inert = func.regexp_replace(column, _FORMULAS, r"\1'", "g")
    return case((and_(is_whole, is_harmless), column), else_=inert)
