"""FastAPI with an ORM session for each request: what most people write. Same tables as denizen."""

import base64
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Of the two tables."""


class User(Base):
    """The columns that an answer shows."""

    __tablename__ = "users"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    username: Mapped[str]
    role: Mapped[str]
    is_active: Mapped[bool]
    locale: Mapped[str]
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Session(Base):
    """Who is behind a token."""

    __tablename__ = "sessions"
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id), primary_key=True)
    token_digest: Mapped[bytes] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]
    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class View(BaseModel):
    """The answer."""

    model_config = ConfigDict(from_attributes=True)
    id: UUID
    email: str
    username: str
    role: str
    is_active: bool
    locale: str
    version: int
    created_at: datetime
    updated_at: datetime


url = os.environ["BENCH_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
engine = create_async_engine(url, pool_size=16)
make_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def get_db() -> AsyncIterator[AsyncSession]:
    """Give a session."""
    async with make_session() as session:
        yield session


async def current_user(
    authorization: Annotated[str, Header()], db: Annotated[AsyncSession, Depends(get_db)]
) -> User:
    """Give who is signed in."""
    raw = base64.urlsafe_b64decode(authorization[10:])
    mine = (Session.user_id == UUID(bytes=raw[:16]), Session.expires_at > func.now())
    digest = hashlib.sha256(raw[16:]).digest()
    found = await db.scalar(select(Session).where(*mine, Session.token_digest == digest))
    if found is None or not found.user.is_active:
        raise HTTPException(401)
    return found.user


@app.get("/v1/me")
async def me(user: Annotated[User, Depends(current_user)]) -> View:
    """Tell who is signed in."""
    return View.model_validate(user)
