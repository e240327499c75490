"""The yardstick: "who am I", and a sign-in, as one would write them by hand for speed alone.

An ASGI callable, an asyncpg pool, orjson; no framework, no checks beyond the token's and the
password's. Who am I is one join. A sign-in is two statements and the hash: no limits, no event, no
second look at the user.
"""

import asyncio
import base64
import hashlib
import os
import secrets
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import argon2
import asyncpg
import orjson

SQL = """
SELECT u.id, u.email, u.username, u.role, u.is_active, u.locale, u.version,
       u.email_verified_at IS NOT NULL AS email_verified, u.created_at, u.updated_at
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.user_id = $1 AND s.token_digest = $2 AND s.expires_at > now() AND u.is_active
"""
FIND = "SELECT id, hashed_password FROM users WHERE email_key = $1 AND is_active"
START = """
INSERT INTO sessions (user_id, token_digest, id, expires_at)
VALUES ($1, $2, $3, now() + interval '30 days')
"""
JSON = [(b"content-type", b"application/json")]
_argon2 = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
_pool: Any = None


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer GET /v1/me and POST /v1/sessions."""
    global _pool  # noqa: PLW0603  # the shortest program that does it
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            _pool = await asyncpg.create_pool(os.environ["BENCH_DATABASE_URL"], max_size=16)
            await send({"type": "lifespan.startup.complete"})
        await _pool.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["method"] == "POST":
        status, body = 201, await _sign_in(orjson.loads((await receive())["body"]))
    else:
        token = next((v for k, v in scope["headers"] if k == b"authorization"), b"")[10:]
        raw = base64.urlsafe_b64decode(token)
        row = await _pool.fetchrow(SQL, raw[:16].hex(), hashlib.sha256(raw[16:]).digest())
        status, body = (401, b"{}") if row is None else (200, orjson.dumps(dict(row), default=str))
    await send({"type": "http.response.start", "status": status, "headers": JSON})
    await send({"type": "http.response.body", "body": body})


async def _sign_in(asked: dict[str, str]) -> bytes:
    found = await _pool.fetchrow(FIND, asked["email"].casefold())
    loop = asyncio.get_running_loop()
    stored, password = found["hashed_password"], asked["password"]
    await loop.run_in_executor(_threads, _argon2.verify, stored, password)
    secret = secrets.token_bytes(32)
    digest = hashlib.sha256(secret).digest()
    await _pool.execute(START, found["id"], digest, uuid.uuid4())
    token = base64.urlsafe_b64encode(found["id"].bytes + secret).decode()
    return orjson.dumps({"token": token, "user": {"id": str(found["id"])}})
