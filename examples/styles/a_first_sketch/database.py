from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from styles.a_first_sketch.settings import settings

engine = create_async_engine(
    url=settings.pg_conn(),
    future=True,
    echo=True,
    pool_size=settings.POSTGRES_MAX_POOLSIZE,
)


get_db_session = async_sessionmaker(
    autocommit=False,
    autoflush=False,
    expire_on_commit=False,
    bind=engine,
)
