"""Users and sessions in numbers, written straight into a migrated database by COPY."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from uuid_utils.compat import uuid7

from denizen.sessions.model import Token

USER_COLUMNS = (
    "id", "email", "email_key", "username", "username_key", "role", "locale", "is_active",
    "email_verified_at", "created_at", "updated_at", "version",
)  # fmt: skip


async def seed(connection: asyncpg.Connection, users: int, *, sessions: int = 1000) -> list[str]:
    """Write `users` users and give tokens of `sessions` of them."""
    now = datetime.now(UTC)
    rows = [_user(number, now - timedelta(seconds=users - number)) for number in range(users)]
    await connection.copy_records_to_table("users", records=rows, columns=USER_COLUMNS)
    tokens = [Token.new(row[0]) for row in rows[:: max(1, users // sessions)][:sessions]]
    end = now + timedelta(days=1)
    await connection.copy_records_to_table(
        "sessions",
        records=[(t.user_id, t.digest, uuid7(), end) for t in tokens],
        columns=("user_id", "token_digest", "id", "expires_at"),
    )
    await connection.execute("ANALYZE")
    return [token.text for token in tokens]


def _user(number: int, at: datetime) -> tuple[Any, ...]:
    name = f"user{hashlib.sha256(str(number).encode()).hexdigest()[:10]}{number}"
    email = f"{name}@example.com"
    return (uuid7(), email, email, name, name, "user", "en", True, at, at, at, 1)


def cores() -> int:
    """Count the cores, to be printed beside figures."""
    return len(os.sched_getaffinity(0))
