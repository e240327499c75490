import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    async_sessionmaker,
    create_async_engine,
)

from styles.b_second_sketch.settings import Settings, settings


class DBSessionManager:
    def __init__(self):
        self._orm_engine: AsyncEngine | None = None
        self._session_factory: async_sessionmaker | None = None
        self._settings: Settings = settings

    def init(
        self,
    ):
        self._orm_engine = create_async_engine(
            url=self._settings.pg_conn(),
            future=True,
            echo=True,
            pool_size=self._settings.POSTGRES_MAX_POOLSIZE,
        )
        self._session_factory = async_sessionmaker(
            autocommit=False,
            bind=self._orm_engine,
        )

    async def close_connections(self):
        if self._orm_engine is None:
            raise Exception("Database session manager is not initialized")
        await self._orm_engine.dispose()
        self._orm_engine = None
        self._session_factory = None

    @contextlib.asynccontextmanager
    async def make_connection(self) -> AsyncIterator[AsyncConnection]:
        if self._orm_engine is None:
            raise Exception("Database session manager is not initialized")

        async with self._orm_engine.begin() as connection:
            try:
                yield connection
            except Exception:
                await connection.rollback()
                raise

    @contextlib.asynccontextmanager
    async def get_session(self) -> AsyncGenerator:
        if self._session_factory is None:
            raise Exception("Database session manager is not initialized")

        async with self._session_factory() as session:
            yield session
