"""The list of users at size: `python -m bench.lists [USERS]` (a million).

Method: one embedded PostgreSQL; users written by COPY, then analysed; each statement is the one
that the API sends. Pages: the first, and one at the end of the list, asked in turn, 200 times each;
the buffers are those of EXPLAIN. Searches: every term 20 times, without and with a filter; a term
is frequent, in the middle, rare or absent, in Latin and in Cyrillic.
"""

import asyncio
import base64
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from bench.seed import make_schema, seed
from denizen.cores import cores
from denizen.db.embedded import EmbeddedServer
from denizen.db.manager import DBSessionManager
from denizen.db.paging import Page
from denizen.db.unit import Db
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter, page_users

DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy's is not
TURNS = 200
REPEATS = 20
TERMS = (
    *("example", "@gmail.com", "user", ".ru"),  # frequent
    *("smith", "ivanov", "иванов", "anna.", "2024"),  # in the middle
    *("wolfeschlegel", "kowalczyk7", "щербак9", "user99999", "a.smith1"),  # rare
    *("zzzzzz", "nobody-at-all", "ъъъъ", "%%%", "q@q@", "\\\\_\\"),  # absent
)


async def measure(server: EmbeddedServer, users: int) -> dict[str, Any]:
    """Give the figures of a fresh server with so many users."""
    await make_schema(server)
    connection: Any = await asyncpg.connect(server.superuser_url)
    await seed(connection, users)
    await connection.execute("VACUUM ANALYZE users")
    await connection.close()
    db = DBSessionManager(server.app_url)
    db.init()
    try:
        return {"pages": await _pages(db, users), "searches": await _searches(db)}
    finally:
        await db.close_connections()


async def _pages(db: DBSessionManager, users: int) -> dict[str, Any]:
    deep = await _cursor_at(db, users - 100)
    first = await _plan(db, None)
    last = await _plan(db, deep)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for cursor, kept in zip((None, deep), times, strict=True):
            kept.append(await _timed(db, UserFilter(), cursor))
    medians = [statistics.median(kept) for kept in times]
    return {
        "first_ms": medians[0],
        "deep_ms": medians[1],
        "ratio": medians[1] / medians[0],
        "first_buffers": first,
        "deep_buffers": last,
    }


async def _searches(db: DBSessionManager) -> dict[str, Any]:
    found = {}
    for term in TERMS:
        row = {}
        for name, wanted in {
            "plain": UserFilter(q=term),
            "filtered": UserFilter(q=term, role="support", is_active=True),
        }.items():
            times = [await _timed(db, wanted) for _ in range(REPEATS)]
            row[name] = sorted(times)[REPEATS * 95 // 100 - 1]
        row["found"] = len(await _ask(db, UserFilter(q=term)))
        found[term] = row
    return found


async def _ask(db: DBSessionManager, wanted: UserFilter, cursor: str | None = None) -> Page[Any]:
    return await db.run(
        lambda unit: page_users(unit, UserModel, wanted, cursor=cursor), read_only=True
    )


async def _timed(db: DBSessionManager, wanted: UserFilter, cursor: str | None = None) -> float:
    began = time.perf_counter()
    await _ask(db, wanted, cursor)
    return 1000 * (time.perf_counter() - began)


async def _cursor_at(db: DBSessionManager, depth: int) -> str | None:
    """Give the cursor behind so many users, without walking there."""
    wanted = UserFilter()

    async def find(unit: Db) -> tuple[Any, ...]:
        at = "SELECT created_at, id FROM users ORDER BY created_at DESC, id DESC"
        row = await unit.execute(text(f"{at} OFFSET :depth LIMIT 1"), {"depth": depth})
        return tuple(row.one())

    created_at, user_id = await db.run(find, read_only=True)
    page = await _ask(db, wanted)
    return moved(page.next_cursor, created_at, user_id)


def moved(cursor: str | None, *keys: Any) -> str:
    """Give a cursor of the same list that stands at another row."""
    raw = (cursor or "").encode()
    version, mark, _ = json.loads(base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4)))
    told = [keys[0].isoformat(), str(keys[1])]
    made = json.dumps([version, mark, told], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


async def _plan(db: DBSessionManager, cursor: str | None) -> int:
    """Give the buffers that a page needs, by EXPLAIN of the statement that is sent."""
    seen: list[Any] = []

    class Spy:
        async def scalars(self, statement: Any, params: Any) -> Any:
            seen.append(statement.params(params))
            raise InterruptedError

    with contextlib.suppress(InterruptedError):
        await page_users(Spy(), UserModel, UserFilter(), cursor=cursor)  # type: ignore[arg-type]
    sql = str(seen[0].compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))

    async def explain(unit: Db) -> Any:
        return await unit.scalar(text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"))

    await db.run(explain, read_only=True)  # once to warm up
    plan = (await db.run(explain, read_only=True))[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def main() -> None:
    """Run and print."""
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="denizen-lists-") as name:
        server = EmbeddedServer.for_service(Path(name))
        server.start()
        try:
            figures = asyncio.run(measure(server, users))
        finally:
            server.stop()
    print(f"{users:,} users, {cores()} cores shared")
    for name, value in figures["pages"].items():
        print(f"  {name:<16} {value:>8.2f}")
    for term, row in figures["searches"].items():
        times = f"p95 {row['plain']:7.1f} ms, filtered {row['filtered']:7.1f} ms"
        print(f"  {term:<18} {times}, {row['found']} found")


if __name__ == "__main__":
    main()
