import os


class Settings:
    POSTGRES_MAX_POOLSIZE = 10

    def pg_conn(self) -> str:
        return os.environ["SKETCH_DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:")


settings = Settings()
