# Lines of the second sketch that could not stay, as they were written (rows 6 and 7 of its table).
from fastapi import HTTPException
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from styles.b_second_sketch.hashing import hasher
from styles.b_second_sketch.models import UserModel
from styles.outer import NewUser as UserSchema


class Verbs:
    @classmethod
    async def get_by_email(cls, db: AsyncSession, email: str):
        return await db.execute(select(cls).where(cls.email == email))


class Scenario:
    async def create_user(self, payload: UserSchema) -> UserModel:
        user_by_email = await UserModel.get_user_by_email(payload.email)
        if user_by_email:
            raise HTTPException(status_code=400, detail="Email is already taken by another user.")

        user_payload = payload.model_dump(exclude={"password"})
        hashed_password = hasher.hash(payload.password)
        user_payload["hashed_password"] = hashed_password
        return await UserModel.create(db, **user_payload)
