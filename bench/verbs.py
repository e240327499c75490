"""`UserModel.get_by_id` against the same read through the ORM, written by hand."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bench.seed import make_schema, seed
from denizen.db.embedded import EmbeddedServer
from denizen.db.manager import DBSessionManager
from denizen.users.model import UserModel

TURNS = 300


async def ratio_of_get_by_id(server: EmbeddedServer) -> float:
    """Give how many times longer the verb takes, by the medians of turns taken one by one."""
    await make_schema(server)
    connection: Any = await asyncpg.connect(server.superuser_url)
    await seed(connection, 1000)
    ids = [row[0] for row in await connection.fetch("SELECT id FROM users LIMIT 200")]
    await connection.close()
    db = DBSessionManager(server.app_url)
    db.init()
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(TURNS):
        user_id = ids[turn % len(ids)]

        async def by_verb(user_id: Any = user_id) -> object:
            async with db.get_session(read_only=True) as session:
                return await UserModel.get_by_id(session, user_id)

        async def by_hand(user_id: Any = user_id) -> object:
            async with AsyncSession(db.engine, expire_on_commit=False) as session:
                return await session.scalar(select(UserModel).where(UserModel.id == user_id))

        for read, kept in zip((by_verb, by_hand), times, strict=True):
            kept.append(await _timed(read))
    await db.close_connections()
    await asyncio.sleep(0)
    verb, hand = (statistics.median(kept) for kept in times)
    return verb / hand


async def _timed(read: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    found = await read()
    if found is None:
        raise LookupError("a user who is there was not found")
    return time.perf_counter() - began
