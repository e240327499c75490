"""Statements that need more than a verb; they take `db`."""

import uuid

from sqlalchemy import delete, or_, select

from denizen.db import Db
from denizen.users.values import email_key
from styles.c_model_verbs.model import SessionModel, UserModel


async def taken_fields(db: Db, email: str, username: str) -> tuple[str, ...]:
    """Give which of the two belong to somebody: a courtesy that spares a hash."""
    key = email_key(email)
    is_same = or_(UserModel.email_key == key, UserModel.username == username)
    users = (await db.scalars(select(UserModel).where(is_same))).all()
    taken = {
        "email": any(user.email_key == key for user in users),
        "username": any(user.username == username for user in users),
    }
    return tuple(field for field, is_taken in taken.items() if is_taken)


async def end_sessions(db: Db, user_id: uuid.UUID) -> None:
    """End every session of a user."""
    await db.execute(delete(SessionModel).where(SessionModel.user_id == user_id))
