"""Statements about imports; they take `db`. How staged rows become users stands in `staging.py`."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    Interval,
    Row,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from denizen.audit.model import ADDRESS_MAX, AGENT_MAX, Actor
from denizen.db.paging import Order, Page, fetch_page
from denizen.db.unit import Db
from denizen.imports.model import CONFLICTS, UNDER_WAY, Counts, Import, State
from denizen.imports.reader import Refusal

_SHOWN: Final = tuple(field.name for field in fields(Import))


async def create_import(db: Db, imports: Table, actor: Actor, **values: Any) -> Import:
    """Add an import that waits to be run."""
    statement = insert(imports).values(
        state="waiting",
        is_checked=False,
        actor_kind=actor.kind,
        actor_id=actor.id,
        address=(actor.address or "")[:ADDRESS_MAX] or None,
        user_agent=(actor.user_agent or "")[:AGENT_MAX] or None,
        **asdict(Counts()),
        **values,
    )
    row = await db.execute(statement.returning(*_shown(imports)))
    return _import(row.one())


async def get_import(db: Db, imports: Table, import_id: uuid.UUID) -> Import | None:
    """Give an import, or None."""
    row = (await db.execute(_select(imports).where(imports.c.id == import_id))).one_or_none()
    return None if row is None else _import(row)


async def get_secret(db: Db, imports: Table, import_id: uuid.UUID) -> str | None:
    """Give the hash parameters that the import came with, or None."""
    secret: str | None = await db.scalar(select(imports.c.secret).where(imports.c.id == import_id))
    return secret


async def page_imports(db: Db, imports: Table, *, limit: int, cursor: str | None) -> Page[Import]:
    """Give one page of imports, the newest first.

    Raises:
        CursorError: the cursor is not one of this list.
    """
    order = Order("id", (imports.c.id,), descending=True)
    page = await fetch_page(db, _select(imports), order, limit=limit, cursor=cursor)
    return Page([_import(row) for row in page], page.next_cursor)


async def find_begun(
    db: Db, imports: Table, digest: bytes, options: dict[str, Any]
) -> Import | None:
    """Give the latest import of such an operator's file, with such options, that has not ended."""
    statement = (
        _select(imports)
        .where(
            imports.c.digest == digest,
            imports.c.options == literal(options, imports.c.options.type),
            imports.c.path.is_not(None),
            imports.c.state.in_(UNDER_WAY),
        )
        .order_by(imports.c.id.desc())
        .limit(1)
    )
    row = (await db.execute(statement)).one_or_none()
    return None if row is None else _import(row)


async def claim(
    db: Db, imports: Table, import_id: uuid.UUID, runner: uuid.UUID, *, idle: timedelta
) -> Import | None:
    """Become the one who runs an import that nobody was heard of for so long; None if not."""
    is_idle = or_(
        imports.c.runner.is_(None), imports.c.beat_at <= func.now() - literal(idle, Interval)
    )
    statement = (
        update(imports)
        .where(imports.c.id == import_id, imports.c.state.in_(UNDER_WAY), is_idle)
        .values(runner=runner, beat_at=func.now())
    )
    row = (await db.execute(statement.returning(*_shown(imports)))).one_or_none()
    return None if row is None else _import(row)


async def change_import(
    db: Db,
    imports: Table,
    import_id: uuid.UUID,
    *,
    among: Sequence[State],
    held_by: uuid.UUID | None = None,
    **values: Any,
) -> Import | None:
    """Change an import that is in one of these states, and in these hands; None when it is not."""
    conditions = [imports.c.id == import_id, imports.c.state.in_(among)]
    if held_by is not None:
        conditions.append(imports.c.runner == held_by)
        values = {"beat_at": func.now()} | values
    statement = update(imports).where(and_(*conditions)).values(**values)
    row = (await db.execute(statement.returning(*_shown(imports)))).one_or_none()
    return None if row is None else _import(row)


async def add_refusals(
    db: Db, refusals: Table, import_id: uuid.UUID, found: Sequence[Refusal]
) -> None:
    """Note records that were not taken."""
    if found:
        rows = [asdict(one) | {"import_id": import_id} for one in found]
        await db.execute(insert(refusals), rows)


async def list_refusals(
    db: Db, refusals: Table, import_id: uuid.UUID, *, after: int, limit: int
) -> list[Refusal]:
    """Give refusals in the order of the file, from behind that record on."""
    columns = refusals.c
    statement = (
        select(columns.record, columns.line, columns.field, columns.code)
        .where(columns.import_id == import_id, columns.record > after)
        .order_by(columns.record)
        .limit(limit)
    )
    return [Refusal(*row) for row in (await db.execute(statement)).all()]


async def has_conflicts(db: Db, refusals: Table, import_id: uuid.UUID) -> bool:
    """Whether a record was not taken because something of it belongs to somebody already."""
    is_conflict = refusals.c.code.in_(CONFLICTS)
    found = await db.scalar(select(exists().where(refusals.c.import_id == import_id, is_conflict)))
    return bool(found)


async def forget_refusals(db: Db, refusals: Table, import_id: uuid.UUID) -> None:
    """Remove the refusals of an import that begins anew."""
    await db.execute(delete(refusals).where(refusals.c.import_id == import_id))


def _select(imports: Table) -> Select[*tuple[Any, ...]]:
    return select(*_shown(imports))


def _shown(imports: Table) -> list[Any]:
    return [imports.c[name] for name in _SHOWN]


def _import(row: Row[Any]) -> Import:
    return Import(**row._mapping)  # noqa: SLF001  # SQLAlchemy's documented name
