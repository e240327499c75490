"""The three use cases; each owns its unit of work."""

import uuid

from denizen.db import Db, DBSessionManager
from denizen.db.errors import TakenError
from denizen.db.model import insert_row, update_row
from denizen.errors import NotFoundError
from denizen.passwords.hasher import PasswordHasher
from styles.d_functions.model import User
from styles.d_functions.statements import (
    delete_user_row,
    end_sessions,
    lock_user,
    record,
    taken_fields,
)
from styles.outer import NewEmail, NewUser


async def create_user(manager: DBSessionManager, hasher: PasswordHasher, payload: NewUser) -> User:
    """Sign up: refuse early, hash without a connection; the unique indexes decide."""
    taken = await manager.run(
        lambda db: taken_fields(db, payload.email, payload.username), read_only=True
    )
    if taken:
        raise TakenError(taken)
    hashed_password = await hasher.hash(payload.password)

    async def unit(db: Db) -> User:
        user = User(
            email=payload.email,
            username=payload.username,
            hashed_password=hashed_password,
        )
        return await insert_row(db, user)

    return await manager.run(unit)


async def change_email(manager: DBSessionManager, user_id: uuid.UUID, payload: NewEmail) -> User:
    """Change the address of a user whose version is still the one that the caller read."""

    async def unit(db: Db) -> User:
        user = await lock_user(db, user_id)
        if user is None:
            raise NotFoundError
        user.email = payload.email
        return await update_row(db, user, version=payload.version)

    return await manager.run(unit)


async def delete_user(manager: DBSessionManager, user_id: uuid.UUID) -> None:
    """Erase a user with their sessions, and say so in the audit."""

    async def unit(db: Db) -> None:
        await end_sessions(db, user_id)
        if not await delete_user_row(db, user_id):
            raise NotFoundError
        await record(db, "user.erased", user_id)

    await manager.run(unit)
