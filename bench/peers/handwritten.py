"""The yardstick: "who am I" as one would write it by hand for speed alone.

An ASGI callable, an asyncpg pool, one join, orjson; no framework, no checks beyond the token's.
"""

import base64
import hashlib
import os
from typing import Any

import asyncpg
import orjson

SQL = """
SELECT u.id, u.email, u.username, u.role, u.is_active, u.locale, u.version,
       u.email_verified_at IS NOT NULL AS email_verified, u.created_at, u.updated_at
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.user_id = $1 AND s.token_digest = $2 AND s.expires_at > now() AND u.is_active
"""
JSON = [(b"content-type", b"application/json")]
_pool: Any = None


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer GET /v1/me."""
    global _pool  # noqa: PLW0603  # the shortest program that does it
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            _pool = await asyncpg.create_pool(os.environ["BENCH_DATABASE_URL"], max_size=16)
            await send({"type": "lifespan.startup.complete"})
        await _pool.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    token = next((v for k, v in scope["headers"] if k == b"authorization"), b"")[10:]
    raw = base64.urlsafe_b64decode(token)
    row = await _pool.fetchrow(SQL, raw[:16].hex(), hashlib.sha256(raw[16:]).digest())
    status, body = (401, b"{}") if row is None else (200, orjson.dumps(dict(row), default=str))
    await send({"type": "http.response.start", "status": status, "headers": JSON})
    await send({"type": "http.response.body", "body": body})
