"""The three use cases; each owns its unit of work."""

import uuid

from denizen.db.errors import TakenError
from denizen.errors import NotFoundError
from styles.e_repository.model import User
from styles.e_repository.ports import Begin, Hasher
from styles.outer import NewEmail, NewUser


class UserService:
    """Users: signed up, moved to another address, erased."""

    def __init__(self, begin: Begin, hasher: Hasher) -> None:
        self._begin = begin
        self._hasher = hasher

    async def create_user(self, payload: NewUser) -> User:
        """Sign up: refuse early, hash without a connection; the unique indexes decide."""
        async with self._begin(read_only=True) as work:
            taken = await work.users.taken_fields(payload.email, payload.username)
        if taken:
            raise TakenError(taken)
        user = User(
            email=payload.email,
            username=payload.username,
            hashed_password=await self._hasher.hash(payload.password),
        )
        async with self._begin() as work:
            await work.users.add(user)
        return user

    async def change_email(self, user_id: uuid.UUID, payload: NewEmail) -> User:
        """Change the address of a user whose version is still the one that the caller read."""
        async with self._begin() as work:
            user = await work.users.lock(user_id)
            if user is None:
                raise NotFoundError
            user.email = payload.email
            await work.users.save(user, version=payload.version)
        return user

    async def delete_user(self, user_id: uuid.UUID) -> None:
        """Erase a user with their sessions, and say so in the audit."""
        async with self._begin() as work:
            await work.sessions.end_all(user_id)
            if not await work.users.remove(user_id):
                raise NotFoundError
            await work.audit.record("user.erased", user_id)
