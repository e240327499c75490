"""The ground on which a style is tried: its database, its HTTP, a watcher beside it, and faults.

Everything here works from outside, on any style: it listens to SQLAlchemy's events for whatever
engine there is, and looks at the database over a connection of its own.
"""

import asyncio
import contextlib
import hashlib
import itertools
import logging
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

import argon2
import asyncpg
import httpx
from sqlalchemy import Engine, Pool, event
from sqlalchemy.ext.asyncio import create_async_engine

from styles.outer import Users, create_app, load

PASSWORD: Final = "a fine long passphrase 77"
TABLES: Final = "users, sessions, audit_events"
_numbers = itertools.count(1)
# the sketches print every statement; whoever wants to hear them listens at the root
logging.getLogger("sqlalchemy.engine.Engine").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class State:
    """All that is stored, as far as the scenarios go."""

    users: frozenset[tuple[str, str]]
    sessions: tuple[uuid.UUID, ...]
    audit: tuple[tuple[uuid.UUID, str], ...]


@dataclass(slots=True)
class Ground:
    """A style, open on an empty database of its own."""

    letter: str
    url: str
    users: Users
    http: httpx.AsyncClient
    watcher: Any  # asyncpg types every row as maybe None

    async def sign_up(self, email: str, username: str) -> httpx.Response:
        """Ask for an account."""
        body = {"email": email, "username": username, "password": PASSWORD}
        return await self.http.post("/users", json=body)

    async def change_email(
        self, user_id: object, email: str, version: int | None = None
    ) -> httpx.Response:
        """Ask for another address."""
        body = {"email": email, "version": version}
        return await self.http.put(f"/users/{user_id}/email", json=body)

    async def erase(self, user_id: object) -> httpx.Response:
        """Ask for the end of an account."""
        return await self.http.delete(f"/users/{user_id}")

    async def a_user(self, *, sessions: int = 2) -> uuid.UUID:
        """Sign somebody up, and in: through the style, and beside it."""
        number = next(_numbers)
        answer = await self.sign_up(f"user{number}@example.com", f"user{number}")
        user_id = uuid.UUID(answer.json()["id"])
        for _ in range(sessions):
            await self.watcher.execute(
                "INSERT INTO sessions (id, user_id) VALUES ($1, $2)", uuid.uuid4(), user_id
            )
        return user_id

    async def state(self) -> State:
        """Look at what is stored, from beside."""
        return await stored(self.watcher)


async def stored(watcher: Any) -> State:
    """Give all that is stored."""
    users = await watcher.fetch("SELECT email, username FROM users")
    sessions = await watcher.fetch("SELECT user_id FROM sessions ORDER BY 1")
    audit = await watcher.fetch("SELECT user_id, action FROM audit_events ORDER BY 1, 2")
    return State(
        frozenset((row["email"], row["username"]) for row in users),
        tuple(row["user_id"] for row in sessions),
        tuple((row["user_id"], row["action"]) for row in audit),
    )


async def connect(url: str) -> Any:
    """Open a driver's connection of its own."""
    parts = urllib.parse.urlsplit(url)
    (host,) = urllib.parse.parse_qs(parts.query)["host"]
    return await asyncpg.connect(host=host, user=parts.username, database=parts.path.lstrip("/"))


async def make_tables(letter: str, url: str) -> None:
    """Make a style's tables in an empty database."""
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.run_sync(load(letter).metadata.create_all)
    await engine.dispose()


@contextlib.asynccontextmanager
async def open_ground(letter: str, url: str, *, is_empty: bool = True) -> AsyncIterator[Ground]:
    """Open the style, on emptied tables unless told otherwise; passwords cost nothing inside."""
    watcher = await connect(url)
    if is_empty:
        await watcher.execute(f"TRUNCATE {TABLES}")
    try:
        with cheap_hashes():
            async with load(letter).open_users(url) as users, _client(users) as http:
                yield Ground(letter, url, users, http, watcher)
    finally:
        await watcher.close()


@contextlib.asynccontextmanager
async def _client(users: Users) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_app(users), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://styles.test") as client:
        yield client


def cheap_hashes() -> contextlib.AbstractContextManager[Any]:
    """Let argon2 answer at once, in whatever style: what it costs is asked by one check alone."""

    def cheap(_self: argon2.PasswordHasher, password: str | bytes) -> str:
        text = password.encode() if isinstance(password, str) else password
        return "$argon2id$cheap$" + hashlib.sha256(text).hexdigest()

    return mock.patch.object(argon2.PasswordHasher, "hash", cheap)


@contextlib.contextmanager
def listening(target: Any, name: str, callback: Callable[..., None]) -> Iterator[None]:
    """Hear an event of every engine or pool."""
    event.listen(target, name, callback)
    try:
        yield
    finally:
        event.remove(target, name, callback)


@contextlib.contextmanager
def cutting_the_wire(after: int) -> Iterator[list[str]]:
    """Break the connection after the n-th statement from now on; gives the statements sent."""
    sent: list[str] = []

    def executed(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)
        if len(sent) == after:
            connection.connection.driver_connection.terminate()

    with listening(Engine, "after_cursor_execute", executed):
        yield sent


@contextlib.contextmanager
def counting_connections() -> Iterator[list[int]]:
    """Keep count of the connections that are out of their pool, as the last item of a list."""
    held = [0]

    def out(*_: Any) -> None:
        held.append(held[-1] + 1)

    def back(*_: Any) -> None:
        held.append(held[-1] - 1)

    with listening(Pool, "checkout", out), listening(Pool, "checkin", back):
        yield held


@contextlib.contextmanager
def heard_logs() -> Iterator[list[str]]:
    """Collect every line that any logger lets through."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    listener = Listener()
    logging.getLogger().addHandler(listener)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(listener)


@contextlib.asynccontextmanager
async def failing_commit(watcher: Any, table: str) -> AsyncIterator[None]:
    """Let every transaction that touched a table fail at its COMMIT, and not before."""
    await watcher.execute(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'late' USING ERRCODE = '23514', CONSTRAINT = 'ck_late'; END $$"
    )
    await watcher.execute(
        f"CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON {table} "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        yield
    finally:
        await watcher.execute(f"DROP TRIGGER late ON {table}")


@contextlib.asynccontextmanager
async def losing_one_race(watcher: Any, table: str) -> AsyncIterator[None]:
    """Let the first change of a table be refused as a serialization failure, and no other."""
    await watcher.execute("CREATE SEQUENCE races")  # counts on where a transaction is rolled back
    await watcher.execute(
        "CREATE OR REPLACE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('races') = 1 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END IF; "
        "RETURN NEW; END $$"
    )
    await watcher.execute(
        f"CREATE TRIGGER lose BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION lose()"
    )
    try:
        yield
    finally:
        await watcher.execute(f"DROP TRIGGER lose ON {table}")
        await watcher.execute("DROP SEQUENCE races")


async def answer_after_a_lost_race(ground: Ground) -> int:
    """Give the status of a change of address whose transaction has to be rerun once."""
    user_id = await ground.a_user()
    async with losing_one_race(ground.watcher, "users"):
        return (await ground.change_email(user_id, "new@example.com")).status_code


async def others(watcher: Any, condition: str = "true") -> int:
    """Count the other connections to this database for which a condition of SQL holds."""
    found: int = await watcher.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        f"AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND {condition}"
    )
    return found


async def until_no_others(watcher: Any, condition: str = "true") -> None:
    """Wait until the server has ended what others were doing here."""
    while await others(watcher, condition):  # noqa: ASYNC110  # the server tells nobody
        await asyncio.sleep(0.005)


async def end_others(watcher: Any) -> None:
    """End every other connection to this database, as a restart of the server does."""
    await watcher.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await until_no_others(watcher)
    await asyncio.sleep(0.02)  # until the client's end of the socket has heard of it
