"""Every statement, as a function that takes `db`; none commits."""

import uuid
from typing import Any

from sqlalchemy import delete, or_, select

from denizen.db import Db
from denizen.db.model import insert_row
from denizen.users.values import email_key
from styles.d_functions.model import AuditEvent, Session, User


async def taken_fields(db: Db, email: str, username: str) -> tuple[str, ...]:
    """Give which of the two belong to somebody: a courtesy that spares a hash."""
    key = email_key(email)
    is_same = or_(User.email_key == key, User.username == username)
    users = (await db.scalars(select(User).where(is_same))).all()
    taken = {
        "email": any(user.email_key == key for user in users),
        "username": any(user.username == username for user in users),
    }
    return tuple(field for field, is_taken in taken.items() if is_taken)


async def lock_user(db: Db, user_id: uuid.UUID) -> User | None:
    """Give a user, locked until the unit ends."""
    newest = select(User).where(User.id == user_id).execution_options(populate_existing=True)
    found: User | None = await db.scalar(newest.with_for_update(key_share=True))
    return found


async def delete_user_row(db: Db, user_id: uuid.UUID) -> bool:
    """Delete a user's row; whether there was one."""
    result: Any = await db.execute(delete(User).where(User.id == user_id))
    return bool(result.rowcount)


async def end_sessions(db: Db, user_id: uuid.UUID) -> None:
    """End every session of a user."""
    await db.execute(delete(Session).where(Session.user_id == user_id))


async def record(db: Db, action: str, user_id: uuid.UUID) -> None:
    """Add an audit event."""
    await insert_row(db, AuditEvent(user_id=user_id, action=action))
