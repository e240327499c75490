import uuid
from datetime import datetime

from sqlalchemy import UUID, Boolean, Column, DateTime, ForeignKey, String, delete, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass


class UserModel(Base):
    __tablename__ = "users"

    id = Column(UUID, primary_key=True, index=True, default=uuid.uuid4)
    email = Column(String, unique=True, index=True)
    username = Column(String, unique=True, index=True)
    hashed_password = Column(String)
    is_active = Column(Boolean, default=True)
    created_at = Column(DateTime, default=datetime.now())

    @classmethod
    async def create(cls, db: AsyncSession, **kwargs):
        model_object = cls(**kwargs)
        db.add(model_object)
        await db.commit()
        await db.refresh(model_object)
        return model_object

    @classmethod
    async def get_by_id(cls, db: AsyncSession, id: uuid.UUID):
        try:
            model_object = await db.get(cls, id)
        except NoResultFound:
            return None
        return model_object

    @classmethod
    async def get_by_email(cls, db: AsyncSession, email: str):
        return (await db.execute(select(cls).where(cls.email == email))).scalar_one_or_none()

    @classmethod
    async def get_all(cls, db: AsyncSession):
        return (await db.execute(select(cls))).scalars().all()

    @classmethod
    async def delete(cls, db: AsyncSession, id: uuid.UUID):
        return await db.execute(delete(cls).where(cls.id == id))


class SessionModel(Base):
    __tablename__ = "sessions"

    id = Column(UUID, primary_key=True, index=True, default=uuid.uuid4)
    user_id = Column(UUID, ForeignKey("users.id"), index=True)

    @classmethod
    async def delete_by_user_id(cls, db: AsyncSession, user_id: uuid.UUID):
        return await db.execute(delete(cls).where(cls.user_id == user_id))


class AuditModel(Base):
    __tablename__ = "audit_events"

    id = Column(UUID, primary_key=True, index=True, default=uuid.uuid4)
    user_id = Column(UUID, index=True)
    action = Column(String)
    at = Column(DateTime, default=datetime.now())

    @classmethod
    async def create(cls, db: AsyncSession, **kwargs):
        model_object = cls(**kwargs)
        db.add(model_object)
        await db.commit()
        await db.refresh(model_object)
        return model_object
