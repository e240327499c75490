"""What each statement costs as users become many: `python -m bench.growth [USERS...]`.

Method: for each number a fresh embedded PostgreSQL; users, and a session and an event of the audit
for one in ten, by COPY into tables whose indexes are built afterwards. Then each act of the API is
done by the application itself, and each statement of it that reads is explained with its own values
(ANALYZE, BUFFERS), five times in a transaction that is rolled back: the table gives the shortest
time in milliseconds and the blocks that it touched. A plan fails, and with it the run, where a
table that grows is read from end to end, or where more than twice the rows are read that are given.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
from pydantic import SecretStr
from sqlalchemy import event

from bench.lists import moved
from bench.seed import address_of, make_schema, seed
from denizen.app import Denizen, create_app
from denizen.cores import cores
from denizen.db.embedded import EmbeddedServer
from denizen.sessions.model import Token
from denizen.settings import Settings
from denizen.users.model import UserModel

SIZES: Final = (10_000, 100_000, 1_000_000, 10_000_000)
GROWING: Final = ("users", "sessions", "audit_events")
TRIES: Final = 5
MANY: Final = 100_000  # below, to read a table from end to end may be the shortest way
SLACK: Final = 20  # rows that may be read beyond twice those returned: of a lock, of a check
_INDEXES: Final = """
    SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS made_by,
           k.conname AS constraint_name, pg_get_constraintdef(k.oid) AS constraint_text
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
    LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('u', 'p')
    WHERE t.relname = 'users' AND NOT i.indisprimary
"""
_EVENTS: Final = """
    INSERT INTO audit_events (user_id, id, action, actor_kind, actor_id, before, after)
    SELECT user_id, id, 'session.started', 'user', user_id, '{}', '{}' FROM sessions
"""
_AT: Final = """
    SELECT created_at, id FROM users ORDER BY created_at DESC, id DESC OFFSET $1 LIMIT 1
"""
Heard = list[tuple[str, tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one statement: the shortest time, the blocks touched, and what is wrong with its plan."""

    milliseconds: float
    blocks: int
    complaint: str | None


Figures = tuple[dict[str, Cost], dict[str, int]]


def main() -> None:
    """Run and print the tables."""
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    found = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="denizen-growth-") as name:
            server = EmbeddedServer.for_service(Path(name))
            server.start()
            try:
                found[size] = asyncio.run(measure(server, size))
            finally:
                server.stop()
        print(f"{size:,} users are measured", file=sys.stderr)
    _print(found)
    complaints = [
        f"{size:,} users: {act}: {cost.complaint}"
        for size, (costs, _) in found.items()
        for act, cost in costs.items()
        if cost.complaint
    ]
    if complaints:
        raise SystemExit("\n".join(complaints))


async def measure(server: EmbeddedServer, users: int) -> Figures:
    """Give what each statement of each act costs, and the sizes of indexes in bytes."""
    await make_schema(server)
    connection: Any = await asyncpg.connect(server.superuser_url)
    try:
        token = await _fill(connection, users)
        async with _watched(server, token) as (client, heard):
            acts = await _acts(connection, client, heard, users)
        costs = {
            f"{act} {number}" if number else act: await _cost(connection, act, sql, values, users)
            for act, statements in acts.items()
            for number, (sql, values) in enumerate(statements)
        }
        sizes = "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relname ~ 'users'"
        return costs, {name: size for name, size in await connection.fetch(sizes) if size}
    finally:
        await connection.close()


async def _fill(connection: Any, users: int) -> str:
    """Write users, then build the indexes; give the token of an admin."""
    await connection.execute("SET maintenance_work_mem = '1GB'")
    indexes = await connection.fetch(_INDEXES)
    for index in indexes:
        of_constraint = f"ALTER TABLE users DROP CONSTRAINT {index['constraint_name']}"
        alone = f"DROP INDEX {index['name']}"
        await connection.execute(of_constraint if index["constraint_name"] else alone)
    began = time.perf_counter()
    tokens = await seed(connection, users, sessions=users // 10)
    written = time.perf_counter()
    for index in indexes:
        name, text = index["constraint_name"], index["constraint_text"]
        of_constraint = f"ALTER TABLE users ADD CONSTRAINT {name} {text}"
        await connection.execute(of_constraint if name else index["made_by"])
    built = time.perf_counter()
    await connection.execute("UPDATE users SET role = 'admin' WHERE id = $1", _user_of(tokens[0]))
    await connection.execute(_EVENTS)
    await connection.execute("VACUUM ANALYZE")
    said = f"written in {written - began:.0f} s, indexes in {built - written:.0f} s"
    print(f"{users:,} users: {said}", file=sys.stderr)
    return tokens[0]


def _user_of(token: str) -> Any:
    parsed = Token.parse(token)
    return None if parsed is None else parsed.user_id


@contextlib.asynccontextmanager
async def _watched(
    server: EmbeddedServer, token: str
) -> AsyncIterator[tuple[httpx.AsyncClient, Heard]]:
    """Give a client of the application, signed in, and what that says to the database."""
    settings = Settings.load(database_url=SecretStr(server.app_url), throttle="off", _env_file=None)
    app = create_app(settings)
    denizen: Denizen[UserModel] = app.state.denizen
    heard: Heard = []
    await denizen.start()
    engine = denizen.db.engine.sync_engine

    def executed(_: Any, __: Any, sql: str, values: Any, ___: Any, ____: Any) -> None:
        heard.append((sql, tuple(values)))

    def connected(connection: Any, *_: Any) -> None:
        driver = connection.driver_connection
        driver.add_query_logger(lambda said: heard.append((said.query, tuple(said.args))))

    event.listen(engine, "before_cursor_execute", executed)
    event.listen(engine, "connect", connected)
    transport = httpx.ASGITransport(app=app)
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://denizen.test", headers=headers, timeout=60
        ) as client:
            yield client, heard
    finally:
        await denizen.stop()


async def _acts(
    connection: Any, client: httpx.AsyncClient, heard: Heard, users: int
) -> dict[str, Heard]:
    """Do each act twice, the first time for the driver's own look-ups; give what it said then."""
    row = await connection.fetchrow(_AT, users - 100)
    first = (await client.get("/v1/users")).json()
    (someone,) = (await client.get("/v1/users", params={"email": address_of(users // 2)})).json()[
        "items"
    ]
    path = f"/v1/users/{someone['id']}"
    deep = moved(first["next_cursor"], row["created_at"], row["id"])
    asked: dict[str, tuple[str, str, Any]] = {
        "who am I": ("GET", "/v1/me", None),
        "a user by id": ("GET", path, None),
        "first page": ("GET", "/v1/users", None),
        "last page": ("GET", f"/v1/users?cursor={deep}", None),
        "page by address": ("GET", "/v1/users?order=email", None),
        "page of support": ("GET", "/v1/users?role=support", None),
        "page of the disabled": ("GET", "/v1/users?is_active=false", None),
        "page of the unconfirmed": ("GET", "/v1/users?email_verified=false", None),
        "by address": ("GET", f"/v1/users?email={someone['email']}", None),
        "by name": ("GET", f"/v1/users?username={someone['username']}", None),
        "search, absent": ("GET", "/v1/users?q=user99", None),
        "search, rare": ("GET", f"/v1/users?q={someone['username']}", None),
        "search, frequent": ("GET", "/v1/users?q=gmail", None),
        "change": ("PATCH", path, {"locale": "ru"}),
        "sign-in": ("POST", "/v1/sessions", {"email": someone["email"], "password": "x" * 20}),
        "ask to register": ("POST", "/v1/registrations", {"email": "new@example.com"}),
        "my devices": ("GET", "/v1/me/sessions", None),
        "audit": ("GET", "/v1/audit-events", None),
        "audit of one": ("GET", f"/v1/audit-events?user_id={someone['id']}", None),
        "delete": ("DELETE", path, None),
    }
    found: dict[str, Heard] = {}
    for act, (method, where, body) in asked.items():
        for _ in range(1 if method == "DELETE" else 2):
            heard.clear()
            await client.request(method, where, json=body)
            await asyncio.sleep(0.01)  # the driver tells in a later turn of the loop
        found[act] = _interesting(heard, act)
    return found


def _interesting(heard: Heard, act: str) -> Heard:
    """Leave out what reads no rows, and "who am I" before every other act."""
    words = ("SELECT ", "UPDATE ", "DELETE ")
    found = [(sql, values) for sql, values in heard if sql.startswith(words)]
    found = [(sql, values) for sql, values in found if "pg_catalog" not in sql]
    return (
        found if act == "who am I" else [one for one in found if "token_digest = $" not in one[0]]
    )


async def _cost(connection: Any, act: str, sql: str, values: tuple[Any, ...], users: int) -> Cost:
    plans = []
    for _ in range(TRIES):
        transaction = connection.transaction()
        await transaction.start()
        try:
            text = await connection.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *values
            )
            plans.append(json.loads(text)[0])
        finally:
            await transaction.rollback()
    best = min(plans, key=lambda plan: float(plan["Execution Time"]))
    top = best["Plan"]
    blocks = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    complaint = None if act.startswith("search") else _complaint(top, users)
    return Cost(float(best["Execution Time"]), int(blocks), complaint)


def _complaint(top: dict[str, Any], users: int) -> str | None:
    scans = [
        node for node in _nodes(top) if "Relation Name" in node and "Scan" in node["Node Type"]
    ]
    for node in scans:
        is_whole = node["Node Type"] == "Seq Scan" and node["Relation Name"] in GROWING
        if is_whole and users >= MANY:
            return f"{node['Relation Name']} is read from end to end"
    read = sum(map(_rows_read, scans))
    if read > 2 * top["Actual Rows"] + SLACK:
        return f"{read} rows are read for {top['Actual Rows']}"
    return None


def _rows_read(node: dict[str, Any]) -> float:
    removed = sum(node.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Index Recheck"))
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _print(found: dict[int, Figures]) -> None:
    print(f"{cores()} cores shared; ms and blocks of each statement")
    heads = " ".join(f"{size:>19,}" for size in found)
    print(f"{'':<28}{heads}")
    for act in next(iter(found.values()))[0]:
        cells = (costs[act] for costs, _ in found.values() if act in costs)
        print(
            f"{act:<28}",
            " ".join(f"{cell.milliseconds:>11.3f} {cell.blocks:>7,}" for cell in cells),
        )
    print("MiB of tables and indexes")
    for name in next(reversed(found.values()))[1]:
        cells_of = (f"{sizes.get(name, 0) / 2**20:>19.1f}" for _, sizes in found.values())
        print(f"{name:<28}", " ".join(cells_of))


if __name__ == "__main__":
    main()
