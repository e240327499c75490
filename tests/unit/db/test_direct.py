"""Statements compiled once: every type of column that a host may have."""

import decimal

import pytest
from sqlalchemy import ARRAY, Column, Float, MetaData, Numeric, Table, TypeDecorator, select
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.types import TypeEngine

from denizen.db.direct import CompiledStatement

_DIALECT = asyncpg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own has no types
TENTH = decimal.Decimal("0.1")


class _Rate(TypeDecorator[float]):
    impl = Float
    cache_ok = True


@pytest.mark.parametrize(
    ("kind", "sent", "read"),
    [
        (Float(), 0.5, 0.5),
        (Float(asdecimal=True), 0.1, TENTH),
        (Numeric(), TENTH, TENTH),
        (Numeric(asdecimal=False), TENTH, 0.1),
        (_Rate(), 0.5, 0.5),
        (ARRAY(Float), [0.5], [0.5]),
    ],
    ids=str,
)
def test_number_is_read_as_the_orm_reads_it(
    kind: TypeEngine[object], sent: object, read: object
) -> None:
    """SQLAlchemy chooses a number's converter by what it comes as, which nobody has seen yet."""
    table = Table("t", MetaData(), Column("x", kind))
    statement = CompiledStatement(select(table.c.x), _DIALECT)

    convert = statement.converters.get("x")
    found = sent if convert is None else convert(sent)

    assert (type(found), found) == (type(read), read)
