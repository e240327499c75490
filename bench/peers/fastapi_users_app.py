"""fastapi-users with SQLAlchemy, tokens in the database under /db and JWTs under /jwt.

As its documentation's full example has it; the password helper is its own.
"""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.authentication.strategy.db import AccessTokenDatabase, DatabaseStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users_db_sqlalchemy.access_token import (
    SQLAlchemyAccessTokenDatabase,
    SQLAlchemyBaseAccessTokenTableUUID,
)
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Of its tables."""


class User(SQLAlchemyBaseUserTableUUID, Base):
    """Its user."""


class AccessToken(SQLAlchemyBaseAccessTokenTableUUID, Base):
    """Its token."""


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    """Its manager."""

    reset_password_token_secret = "bench"
    verification_token_secret = "bench"


url = os.environ["BENCH_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
engine = create_async_engine(url, pool_size=16)
make_session = async_sessionmaker(engine, expire_on_commit=False)


async def get_session() -> AsyncIterator[AsyncSession]:
    """Give a session."""
    async with make_session() as session:
        yield session


async def get_user_db(session: Annotated[AsyncSession, Depends(get_session)]) -> Any:
    """Give the users."""
    yield SQLAlchemyUserDatabase(session, User)


async def get_token_db(session: Annotated[AsyncSession, Depends(get_session)]) -> Any:
    """Give the tokens."""
    yield SQLAlchemyAccessTokenDatabase(session, AccessToken)


async def get_manager(user_db: Annotated[Any, Depends(get_user_db)]) -> Any:
    """Give the manager."""
    yield UserManager(user_db)


def get_db_strategy(
    tokens: Annotated[AccessTokenDatabase[AccessToken], Depends(get_token_db)],
) -> DatabaseStrategy[User, uuid.UUID, AccessToken]:
    """Give the strategy of tokens in the database."""
    return DatabaseStrategy(tokens, lifetime_seconds=86_400)


def get_jwt_strategy() -> JWTStrategy[User, uuid.UUID]:
    """Give the strategy of JWTs."""
    return JWTStrategy(secret="bench" * 8, lifetime_seconds=86_400)


class UserRead(schemas.BaseUser[uuid.UUID]):
    """Its answer."""


class UserCreate(schemas.BaseUserCreate):
    """Its new user."""


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Make the tables."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
for name, strategy in (("db", get_db_strategy), ("jwt", get_jwt_strategy)):
    backend: Any = AuthenticationBackend(
        name=name, transport=BearerTransport(tokenUrl=f"{name}/login"), get_strategy=strategy
    )
    users = FastAPIUsers[User, uuid.UUID](get_manager, [backend])
    app.include_router(users.get_auth_router(backend), prefix=f"/{name}")
    active = users.current_user(active=True)

    async def me(user: Any = Depends(active)) -> Any:
        """Tell who is signed in."""
        return user

    app.add_api_route(f"/{name}/me", me, response_model=UserRead)
app.include_router(users.get_register_router(UserRead, UserCreate))
