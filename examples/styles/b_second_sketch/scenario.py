import uuid

from fastapi import HTTPException

from styles.b_second_sketch.hashing import hasher
from styles.b_second_sketch.manager import DBSessionManager
from styles.b_second_sketch.models import AuditModel, SessionModel, UserModel
from styles.outer import NewEmail as EmailSchema
from styles.outer import NewUser as UserSchema


class Scenario:
    def __init__(self, manager: DBSessionManager):
        self.manager = manager

    async def create_user(self, payload: UserSchema) -> UserModel:
        async with self.manager.get_session() as db:
            user_by_email = await UserModel.get_by_email(db, payload.email)
            if user_by_email:
                raise HTTPException(
                    status_code=400, detail="Email is already taken by another user."
                )

            user_payload = payload.model_dump(exclude={"password"})
            hashed_password = hasher.hash(payload.password)
            user_payload["hashed_password"] = hashed_password
            return await UserModel.create(db, **user_payload)

    async def change_email(self, id: uuid.UUID, payload: EmailSchema) -> UserModel:
        async with self.manager.get_session() as db:
            user_by_email = await UserModel.get_by_email(db, payload.email)
            if user_by_email:
                raise HTTPException(
                    status_code=400, detail="Email is already taken by another user."
                )

            user = await UserModel.get_by_id(db, id)
            if user is None:
                raise HTTPException(status_code=404, detail="User not found.")
            user.email = payload.email
            await db.commit()
            await db.refresh(user)
            return user

    async def delete_user(self, id: uuid.UUID) -> None:
        async with self.manager.get_session() as db:
            await SessionModel.delete_by_user_id(db, id)
            await UserModel.delete(db, id)
            await AuditModel.create(db, user_id=id, action="user.erased")
