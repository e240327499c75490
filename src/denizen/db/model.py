"""The CRUD verbs, once for every model, and `Model`, a declarative base that has them.

The verbs take `db` first and never commit: the unit of work does. They hold no business rule;
what needs a second table or a rule is a query or a scenario of its slice.
"""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, Self, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Index,
    MetaData,
    Table,
    UniqueConstraint,
    and_,
    delete,
    exc,
    exists,
    inspect,
    select,
)
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, MappedAsDataclass, Mapper
from sqlalchemy.orm import exc as orm_exc
from sqlalchemy.schema import SchemaItem

from denizen.db.errors import (
    StaleVersionError,
    TakenError,
    TakenQuestion,
    constraint_name,
    translate,
)
from denizen.db.paging import Order, Page, fetch_page
from denizen.db.unit import Db

P = ParamSpec("P")
T = TypeVar("T")
_Columns = Callable[[Table, str], Iterable[SchemaItem]]

NAMING_CONVENTION: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Verbs:
    """Create, read, update and delete for a mapped class with a primary key of one column.

    A mixin: `Model` has it, and a class on a declarative base of your own may take it.
    """

    @classmethod
    async def create(cls: Callable[P, T], db: Db, *args: P.args, **kwargs: P.kwargs) -> T:
        """Insert a row made by the model's own constructor and give it, server defaults included.

        Raises:
            TakenError: a unique value belongs to another row.
            DataError: whatever else the database refuses.
        """
        return await insert_row(db, cls(*args, **kwargs))

    @classmethod
    async def get_by_id(cls, db: Db, id: Any) -> Self | None:
        """Give the row with that primary key, or None."""
        return await _refused(db.get(cls, id))

    @classmethod
    async def lock(cls, db: Db, id: Any) -> Self | None:
        """Give the row with that primary key, locked against change until the unit ends."""
        # what the session has loaded before may be old by now; `get` would compare, not replace
        newest = select(cls).where(_key(cls) == id).execution_options(populate_existing=True)
        found: Self | None = await _refused(db.scalar(newest.with_for_update(key_share=True)))
        return found

    @classmethod
    async def get_all(cls, db: Db, *, limit: int = 50, cursor: str | None = None) -> Page[Self]:
        """Give one page of all rows, ordered by primary key (with UUIDv7: by creation).

        Raises:
            CursorError: the cursor is not one of this list.
        """
        order = Order("id", (_key(cls),))
        return await _refused(fetch_page(db, select(cls), order, limit=limit, cursor=cursor))

    @classmethod
    async def stream(cls, db: Db, *, chunk: int = 500) -> AsyncIterator[Self]:
        """Walk all rows in the order of `get_all`, in flat memory: a page at a time."""
        cursor: str | None = None
        while True:
            page = await cls.get_all(db, limit=chunk, cursor=cursor)
            for row in page:
                yield row
            if (cursor := page.next_cursor) is None:
                return

    @classmethod
    async def update(
        cls,
        db: Db,
        id: Any,
        *,
        version: int | None = None,
        **changes: object,
    ) -> Self | None:
        """Change columns of one row, locked meanwhile, and give it; None when there is no row.

        Args:
            db: any session.
            id: the primary key.
            version: what the caller read; None takes whatever there is.
            changes: new values by attribute name.

        Raises:
            StaleVersionError: the row's version is another.
            TakenError: a unique value belongs to another row.
            TypeError: a name that is not a column of the model.
        """
        row = await cls.lock(db, id)
        return None if row is None else await update_row(db, row, version=version, **changes)

    @classmethod
    async def delete(cls, db: Db, id: Any) -> bool:
        """Delete one row; whether there was one.

        Raises:
            ReferenceMissingError: another row still points at it.
        """
        result: Any = await _refused(db.execute(delete(cls).where(_key(cls) == id)))
        return bool(result.rowcount)


class Model(Verbs, MappedAsDataclass, DeclarativeBase, kw_only=True, eq=False):
    """Declarative base with the verbs and with names for every constraint.

    Constructors are keyword-only and typed: a misspelt column is a type error.
    """

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """A unique index or constraint: its name, its columns, and the field that people know."""

    name: str
    columns: tuple[Column[Any], ...]
    field: str


@functools.cache
def unique_keys(table: Table) -> tuple[UniqueKey, ...]:
    """Give the table's unique keys in the order of their columns, the primary key first.

    A column may tell what people call it: `info={"field": "email"}` on `email_key`.
    """
    constraints = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    found = [(str(c.name or ""), tuple(c.columns)) for c in constraints]
    found += [(str(i.name), tuple(i.columns)) for i in table.indexes if _is_plain_unique(i)]
    position = {column: number for number, column in enumerate(table.columns)}
    found.sort(key=lambda key: [position[column] for column in key[1]])
    found.insert(0, (str(table.primary_key.name or f"{table.name}_pkey"), tuple(table.primary_key)))
    return tuple(UniqueKey(n, cs, cs[-1].info.get("field", cs[-1].name)) for n, cs in found)


async def insert_row(db: Db, row: T) -> T:
    """Insert a row that is already made; for generic code, where mypy can't follow `create`.

    Raises:
        DataError: as `Verbs.create`.
    """
    db.add(row)
    await _flush(db, row, is_new=True)
    return row


async def update_row(db: Db, row: T, *, version: int | None = None, **changes: object) -> T:
    """Change columns of a row that the unit has locked.

    Raises:
        DataError: as `Verbs.update`.
        TypeError: a name that is not a column of the model.
    """
    _check_names(type(row), changes)
    if version is not None and _version(row) != version:
        raise StaleVersionError
    for name, value in changes.items():
        setattr(row, name, value)  # an equal value writes nothing: the ORM compares
    await _flush(db, row, is_new=False)
    return row


async def _flush(db: Db, row: object, *, is_new: bool) -> None:
    """Flush; turn a refusal into its typed error, with the question that names every field.

    The values are taken down before: a failed flush expires the row's attributes.
    """
    values = _key_values(row)
    try:
        await db.flush()
    except orm_exc.StaleDataError:
        raise StaleVersionError from None
    except exc.DBAPIError as error:
        typed = translate(error)
        if typed is None:
            raise
        if isinstance(typed, TakenError):
            named = constraint_name(error.driver_exception)
            fields = tuple(
                key.field for key in unique_keys(table_of(type(row))) if key.name == named
            )
            # another index of the table, or another row of the flush: nothing to ask
            is_foreign = named is not None and not fields
            question = None if is_foreign else _question(type(row), values, is_new=is_new)
            raise TakenError(fields, question) from None
        raise typed from None


async def _refused(work: Awaitable[T]) -> T:
    """Await a statement; turn a refusal into its typed error, whoever owns the session."""
    try:
        return await work
    except exc.DBAPIError as error:
        typed = translate(error)
        if typed is None:
            raise
        raise typed from None


def _key_values(row: object) -> dict[str, Any]:
    mapper: Mapper[Any] = inspect(type(row))
    columns = {column for key in unique_keys(table_of(type(row))) for column in key.columns}
    return {c.name: getattr(row, mapper.get_property_by_column(c).key, None) for c in columns}


def _question(model: type[Any], values: dict[str, Any], *, is_new: bool) -> TakenQuestion | None:
    identity, *others = unique_keys(table_of(model))
    asked: list[tuple[str, ColumnElement[bool]]] = []
    for key in (identity, *others) if is_new else others:
        mine = {column: values[column.name] for column in key.columns}
        if any(value is None for value in mine.values()):
            continue  # NULL is taken by nobody
        is_same = and_(*(column == value for column, value in mine.items()))
        if not is_new:
            is_same &= and_(*(column != values[column.name] for column in identity.columns))
        asked.append((key.field, exists().where(is_same)))
    if not asked:
        return None
    return TakenQuestion(tuple(field for field, _ in asked), select(*(test for _, test in asked)))


def _check_names(model: type[Any], changes: dict[str, object]) -> None:
    known = inspect(model).column_attrs
    for name in changes:
        if name not in known:
            raise TypeError(f"{model.__name__} has no column {name!r}")


def _version(row: object) -> object:
    column = inspect(type(row)).version_id_col
    if column is None:
        raise TypeError(f"{type(row).__name__} has no version column")
    return getattr(row, inspect(type(row)).get_property_by_column(column).key)


def _key(model: type[Any]) -> InstrumentedAttribute[Any]:
    mapper: Mapper[Any] = inspect(model)
    (column,) = mapper.primary_key
    attribute: InstrumentedAttribute[Any] = getattr(
        model, mapper.get_property_by_column(column).key
    )
    return attribute


def companion(name: str) -> Callable[[_Columns], Callable[[Table], Table]]:
    """Make a function that gives the table `name` beside another, in the same metadata.

    Decorates what gives its columns and indexes, from the table it belongs to and its own name.
    Beside `users` it is called `name`, beside a host's `members` it is `members_name`; the first
    call makes it.
    """

    def decorate(columns: _Columns) -> Callable[[Table], Table]:
        @functools.wraps(columns)
        def give(owner: Table) -> Table:
            full = name if owner.name == "users" else f"{owner.name}_{name}"
            if (known := owner.metadata.tables.get(full)) is not None:
                return known
            return Table(full, owner.metadata, *columns(owner, full))

        return give

    return decorate


def table_of(model: type[Any]) -> Table:
    """Give the table that a model is mapped to."""
    table = inspect(model).local_table
    if not isinstance(table, Table):
        raise TypeError(f"{model.__name__} is not mapped to a table")
    return table


def _is_plain_unique(index: Index) -> bool:
    partial = index.dialect_options["postgresql"].get("where") is not None
    return bool(index.unique) and not partial and all(isinstance(c, Column) for c in index.columns)
