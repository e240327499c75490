"""The three use cases; each owns its unit of work."""

import uuid

from denizen.db import Db, DBSessionManager
from denizen.db.errors import TakenError
from denizen.errors import NotFoundError
from denizen.passwords.hasher import PasswordHasher
from styles.c_model_verbs.model import AuditModel, UserModel
from styles.c_model_verbs.queries import end_sessions, taken_fields
from styles.outer import NewEmail, NewUser


class UserScenarios:
    """Users: signed up, moved to another address, erased."""

    def __init__(self, db: DBSessionManager, hasher: PasswordHasher) -> None:
        self._db = db
        self._hasher = hasher

    async def create_user(self, payload: NewUser) -> UserModel:
        """Sign up: refuse early, hash without a connection; the unique indexes decide."""
        taken = await self._db.run(
            lambda db: taken_fields(db, payload.email, payload.username), read_only=True
        )
        if taken:
            raise TakenError(taken)
        hashed_password = await self._hasher.hash(payload.password)
        return await self._db.run(
            lambda db: UserModel.create(
                db,
                email=payload.email,
                username=payload.username,
                hashed_password=hashed_password,
            )
        )

    async def change_email(self, user_id: uuid.UUID, payload: NewEmail) -> UserModel:
        """Change the address of a user whose version is still the one that the caller read."""
        user = await self._db.run(
            lambda db: UserModel.update(db, user_id, version=payload.version, email=payload.email)
        )
        if user is None:
            raise NotFoundError
        return user

    async def delete_user(self, user_id: uuid.UUID) -> None:
        """Erase a user with their sessions, and say so in the audit."""

        async def unit(db: Db) -> None:
            await end_sessions(db, user_id)
            if not await UserModel.delete(db, user_id):
                raise NotFoundError
            await AuditModel.create(db, user_id=user_id, action="user.erased")

        await self._db.run(unit)
