"""Statements about API keys; they take `db`."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Interval,
    LargeBinary,
    Row,
    Table,
    Uuid,
    bindparam,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from denizen.db.direct import CompiledStatement
from denizen.db.unit import Db

USED_EVERY: Final = timedelta(minutes=1)  # how finely "last used" is kept


def live_key(keys: Table, dialect: Dialect) -> CompiledStatement:
    """Compile the read of a live key by `id` and `secret_digest`; `is_stale` asks for a touch."""
    touched = keys.c.last_used_at > func.now() - literal(USED_EVERY, Interval)
    statement = select(
        keys.c.id, keys.c.scopes, func.coalesce(touched, False).label("is_touched")
    ).where(
        keys.c.id == bindparam("key_id", type_=Uuid),
        keys.c.secret_digest == bindparam("digest", type_=LargeBinary),
        _is_live(keys, bindparam("skew", timedelta(0), Interval)),
    )
    return CompiledStatement(statement, dialect)


async def add_key(db: Db, keys: Table, values: dict[str, Any], life: timedelta | None) -> Row[Any]:
    """Insert a key and give its row."""
    expires_at = None if life is None else func.now() + literal(life, Interval)
    statement = insert(keys).values(**values, expires_at=expires_at).returning(keys)
    return (await db.execute(statement)).one()


async def list_keys(db: Db, keys: Table, users: Table) -> Sequence[Row[Any]]:
    """Give all keys, the newest first, with who made them as `maker`; there are few."""
    known = keys.outerjoin(users, users.c.id == keys.c.created_by)
    statement = select(keys, users.c.username.label("maker")).select_from(known)
    return (await db.execute(statement.order_by(keys.c.id.desc()))).all()


async def get_key(db: Db, keys: Table, key_id: uuid.UUID) -> Row[Any] | None:
    """Give a key that is not revoked, or None."""
    return (await db.execute(select(keys).where(*_is_kept(keys, key_id)))).one_or_none()


async def revoke_key(db: Db, keys: Table, key_id: uuid.UUID) -> Row[Any] | None:
    """Revoke a key and give it; None when there is none, or it was revoked before."""
    statement = update(keys).where(*_is_kept(keys, key_id)).values(revoked_at=func.now())
    return (await db.execute(statement.returning(keys))).one_or_none()


async def touch(db: Db, keys: Table, key_id: uuid.UUID) -> None:
    """Note that a key is in use, unless somebody else is about to: nobody waits for that."""
    mine = select(keys.c.id).where(keys.c.id == key_id).with_for_update(skip_locked=True)
    statement = update(keys).where(keys.c.id.in_(mine.scalar_subquery()))
    await db.execute(statement.values(last_used_at=func.now()))


def _is_kept(keys: Table, key_id: uuid.UUID) -> tuple[ColumnElement[bool], ...]:
    return keys.c.id == key_id, keys.c.revoked_at.is_(None)


def _is_live(keys: Table, skew: Any) -> ColumnElement[bool]:
    in_time = or_(keys.c.expires_at.is_(None), keys.c.expires_at > func.now() + skew)
    return keys.c.revoked_at.is_(None) & in_time
