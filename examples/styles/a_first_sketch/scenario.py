import uuid

from fastapi import HTTPException
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from styles.a_first_sketch.database import get_db_session
from styles.a_first_sketch.hashing import hasher
from styles.a_first_sketch.models import AuditModel, SessionModel, UserModel
from styles.outer import NewEmail as EmailSchema
from styles.outer import NewUser as UserSchema


class Scenario:
    def __init__(self):
        self.db_session = get_db_session()

    async def create_user(self, payload: UserSchema) -> UserModel:
        user_by_email = await user_scenario.get_user_by_email(payload.email)
        if user_by_email:
            raise HTTPException(status_code=400, detail="Email is already taken by another user.")

        hashed_password = hasher.hash(payload.password)
        user_db_entity = UserModel(
            email=payload.email,
            hashed_password=hashed_password,
            username=payload.username,
            # TODO: add email confirmation mechanism
            is_active=True,
        )
        try:
            self.db_session.add(user_db_entity)
            await self.db_session.commit()
        except SQLAlchemyError as error:
            await self.db_session.rollback()
            raise HTTPException(
                status_code=422,
                detail=f"Error while creating user:\n {error}",
            ) from error
        return user_db_entity

    async def get_user_by_email(self, email: str) -> UserModel | None:
        result = await self.db_session.execute(select(UserModel).where(UserModel.email == email))
        return result.scalar_one_or_none()

    async def change_email(self, id: uuid.UUID, payload: EmailSchema) -> UserModel:
        user_by_email = await user_scenario.get_user_by_email(payload.email)
        if user_by_email:
            raise HTTPException(status_code=400, detail="Email is already taken by another user.")

        user_db_entity = await self.db_session.get(UserModel, id)
        if not user_db_entity:
            raise HTTPException(status_code=404, detail="User not found.")
        try:
            user_db_entity.email = payload.email
            await self.db_session.commit()
        except SQLAlchemyError as error:
            await self.db_session.rollback()
            raise HTTPException(
                status_code=422,
                detail=f"Error while changing email:\n {error}",
            ) from error
        return user_db_entity

    async def delete_user(self, id: uuid.UUID) -> None:
        user_db_entity = await self.db_session.get(UserModel, id)
        if not user_db_entity:
            raise HTTPException(status_code=404, detail="User not found.")
        try:
            await self.db_session.execute(delete(SessionModel).where(SessionModel.user_id == id))
            await self.db_session.delete(user_db_entity)
            self.db_session.add(AuditModel(user_id=id, action="user.erased"))
            await self.db_session.commit()
        except SQLAlchemyError as error:
            await self.db_session.rollback()
            raise HTTPException(
                status_code=422,
                detail=f"Error while deleting user:\n {error}",
            ) from error


user_scenario = Scenario()
