"""Users and sessions in numbers, written straight into a migrated database by COPY."""

import hashlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from uuid_utils.compat import uuid7

from denizen.db.embedded import EmbeddedServer
from denizen.db.manager import DBSessionManager
from denizen.migrations import migrate
from denizen.sessions.model import Token

USER_COLUMNS = (
    "id", "email", "email_key", "username", "username_key", "role", "locale", "is_active",
    "email_verified_at", "created_at", "updated_at", "version", "hashed_password",
)  # fmt: skip
_FIRST = ("anna", "ivan", "maria", "john", "olga", "wei", "fatima", "анна", "пётр", "lucas")
_LAST = (
    *("smith", "ivanov", "kowalczyk", "garcia", "müller", "nguyen", "иванов", "щербак", "sato"),
    *(f"name{number}" for number in range(500)),
)
_DOMAINS = ("gmail.com", "gmail.com", "outlook.com", "yahoo.com", "mail.ru", "company{}.example")


async def make_schema(server: EmbeddedServer) -> None:
    """Bring a fresh server's database up to date, with the rights of the role that serves."""
    db = DBSessionManager(server.owner_url)
    db.init()
    await migrate(db, serving_role="denizen")
    await db.close_connections()


async def seed(
    connection: asyncpg.Connection,
    users: int,
    *,
    sessions: int = 1000,
    hashed_password: str | None = None,
) -> list[str]:
    """Write `users` users and give tokens of `sessions` of them, all active."""
    now = datetime.now(UTC)
    chosen: list[uuid.UUID] = []
    step = max(1, users // sessions)

    def rows() -> Iterator[tuple[Any, ...]]:
        for number in range(users):
            row = _user(number, now - timedelta(seconds=users - number), hashed_password)
            if number % step == 1 and row[7]:
                chosen.append(row[0])
            yield row

    await connection.copy_records_to_table("users", records=rows(), columns=USER_COLUMNS)
    tokens = [Token.new(user_id) for user_id in chosen]
    end = now + timedelta(days=1)
    await connection.copy_records_to_table(
        "sessions",
        records=[(t.user_id, t.digest, uuid7(), end) for t in tokens],
        columns=("user_id", "token_digest", "id", "expires_at"),
    )
    await connection.execute("ANALYZE")
    return [token.text for token in tokens]


def _user(number: int, at: datetime, hashed_password: str | None) -> tuple[Any, ...]:
    """Make a user with a name as people have them: a few names are many people's."""
    name, address = _name(number), address_of(number)
    role = "support" if number % 10_000 == 1 else "user"
    is_active, verified_at = number % 50 != 0, at if number % 10 else None
    return (
        *(uuid7(), address, address, name, name, role, "ru" if number % 2 else "en", is_active),
        *(verified_at, at, at, 1, hashed_password),
    )


def _name(number: int) -> str:
    first = _FIRST[number * 7 % len(_FIRST)]
    last = _LAST[(number // 3) % len(_LAST)]
    tail = hashlib.sha256(str(number).encode()).hexdigest()[:4] + str(number)
    return f"{first}.{last}{tail}" if number % 3 else f"{last}{tail}"


def address_of(number: int) -> str:
    """Give the address of a user by number."""
    return f"{_name(number)}@{_DOMAINS[number % len(_DOMAINS)].format(number // 300)}"
