"""Factories and small tools of the tests: plain typed functions, no fixtures."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import event

from denizen.app import Denizen
from denizen.db.manager import DBSessionManager
from denizen.passwords.hasher import PasswordHasher
from denizen.users.model import UserModel
from denizen.users.values import Role

PASSWORD = "a fine long passphrase 77"
_numbers = itertools.count(1)
_hashes: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Api:
    """An HTTP client that may carry a token."""

    client: httpx.AsyncClient
    token: str | None = None

    async def signed_in(self, email: str, password: str) -> "Api":
        """Sign in and give a client that carries the token."""
        body = {"email": email, "password": password}
        answer = await self.client.post("/v1/sessions", json=body)
        assert answer.status_code == 201, answer.text
        return Api(self.client, answer.json()["token"])

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request."""
        headers = dict(options.pop("headers", None) or {})
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """GET."""
        return await self.send("GET", path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        """POST."""
        return await self.send("POST", path, **options)

    async def patch(self, path: str, **options: Any) -> httpx.Response:
        """PATCH."""
        return await self.send("PATCH", path, **options)

    async def put(self, path: str, **options: Any) -> httpx.Response:
        """PUT."""
        return await self.send("PUT", path, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        """DELETE."""
        return await self.send("DELETE", path, **options)


async def a_user(
    denizen: Denizen[UserModel],
    *,
    email: str | None = None,
    username: str | None = None,
    password: str | None = None,
    role: Role = "user",
    verified: bool = True,
) -> UserModel:
    """Put a user into the database; a password is hashed once for all who have it."""
    number = next(_numbers)
    hashed = None if password is None else await _hashed(denizen.hasher, password)
    async with denizen.db.get_session() as db:
        return await UserModel.create(
            db,
            email=email or f"user{number}@example.com",
            username=username or f"user{number}",
            hashed_password=hashed,
            role=role,
            email_verified_at=denizen.clock.now() if verified else None,
        )


async def _hashed(hasher: PasswordHasher, password: str) -> str:
    known = _hashes.get(password)
    if known is None or hasher.needs_rehash(known):
        known = _hashes[password] = await hasher.hash(password)
    return known


async def an_admin(denizen: Denizen[UserModel], *, email: str | None = None) -> UserModel:
    """Put an admin who can sign in with `PASSWORD` into the database."""
    return await a_user(denizen, email=email, password=PASSWORD, role="admin")


class StatementCounter:
    """Hears every statement of a manager's connections, BEGIN and COMMIT included."""

    def __init__(self, db: DBSessionManager) -> None:
        self._db = db
        self.heard: list[str] = []

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[list[str]]:
        """Collect the statements that are sent inside the block."""
        self.heard.clear()
        engine = self._db.engine.sync_engine

        def connected(connection: Any, *_: Any) -> None:
            connection.driver_connection.add_query_logger(self._hear)

        def returned(connection: Any, *_: Any) -> None:
            connection.driver_connection.remove_query_logger(self._hear)

        def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            self.heard.append(statement)  # prepared statements pass the driver's logger by

        event.listen(engine, "checkout", connected)
        event.listen(engine, "checkin", returned)
        event.listen(engine, "before_cursor_execute", executed)
        try:
            yield self.heard
            await asyncio.sleep(0.01)  # the driver tells in a later turn of the loop
        finally:
            event.remove(engine, "checkout", connected)
            event.remove(engine, "checkin", returned)
            event.remove(engine, "before_cursor_execute", executed)

    def _hear(self, record: Any) -> None:
        self.heard.append(" ".join(record.query.split()).rstrip(";"))


async def until_a_lock_is_waited_for(watcher: Any) -> None:
    """Wait until somebody in the database waits for somebody else."""
    await _until_any(watcher, "pg_locks WHERE NOT granted")


async def until_somebody_sleeps(watcher: Any) -> None:
    """Wait until a statement has come to its `pg_sleep`."""
    await _until_any(
        watcher,
        "pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'",
    )


async def _until_any(watcher: Any, rows: str) -> None:
    async with asyncio.timeout(30):
        found = f"SELECT EXISTS (SELECT FROM {rows})"
        while not await watcher.fetchval(found):  # noqa: ASYNC110  # PostgreSQL has no event
            await asyncio.sleep(0.01)
