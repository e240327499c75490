"""Idempotency-Key: one request, sent again and again, happens once and is answered alike.

Honoured where a caller is known, on methods that change something. The whole request runs in one
unit of work, into which the scenario joins its own, and the answer is stored in it: an answer that
was lost on its way is repeated, and an effect that was rolled back leaves the key free.
"""

import hashlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from fastapi import Request, Response

from denizen.db.manager import DBSessionManager
from denizen.db.unit import Db
from denizen.errors import InvalidError, Issue
from denizen.idempotency.claims import Claims
from denizen.idempotency.queries import Claim
from denizen.parts import Parts

HEADER: Final = "idempotency-key"
KEY_MAX: Final = 255
_METHODS: Final = frozenset({"POST", "PATCH", "PUT", "DELETE"})
_SECRETS: Final = frozenset({"password", "current_password", "new_password", "token"})
_KEPT_HEADERS: Final = ("content-type", "etag", "location")
Handle = Callable[[Request], Awaitable[Response]]


class Replayed(Exception):  # noqa: N818  # no error: an answer that is there already
    """Raised by a claim when the request was answered before; carries that answer."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class Once:
    """Runs requests that carry a key.

    Args:
        parts: the database and its tables.
    """

    def __init__(self, parts: Parts[Any]) -> None:
        self.claims = Claims(parts)
        self._db: DBSessionManager = parts.db

    async def run(self, request: Request, handle: Handle) -> Response:
        """Give the handler's answer, or the one that the same request got before.

        Raises:
            InvalidError: the key is no key.
            IdempotencyMismatchError: the key was used for another request.
            IdempotencyBusyError: a request with this key is running.
        """
        if request.method not in _METHODS or HEADER not in request.headers:
            return await handle(request)
        attempt = request.state.attempt = Attempt(self, request)

        async def unit(db: Db) -> Response:
            request.state.db = db
            response = await handle(request)
            if attempt.claim is not None:
                await self._keep(db, attempt.claim, response)
            return response

        try:
            return await self._db.run(unit)
        except Replayed as replayed:
            return replayed.response
        except BaseException:
            if attempt.claim is not None:
                await self.claims.give_back(attempt.claim)
            raise

    async def _keep(self, db: Db, claim: Claim, response: Response) -> None:
        kept = {n: response.headers[n] for n in _KEPT_HEADERS if n in response.headers}
        body = bytes(response.body)
        status = response.status_code
        await self.claims.keep(db, claim, status=status, headers=kept, body=body)


class Attempt:
    """One request under a key; claimed by the gate, once it is known who asks."""

    def __init__(self, once: Once, request: Request) -> None:
        key = request.headers[HEADER]
        if not 0 < len(key) <= KEY_MAX or not key.isascii() or not key.isprintable():
            message = f"A key has 1 to {KEY_MAX} printable ASCII characters."
            raise InvalidError(Issue("Idempotency-Key", "key_invalid", message))
        self._once = once
        self._key = hashlib.sha256(key.encode()).digest()
        self._request = request
        self.claim: Claim | None = None

    async def claim_for(self, principal_id: uuid.UUID) -> None:
        """Claim the key for whoever asks; a unit that is rerun has it already.

        Raises:
            Replayed: the request was answered before.
            IdempotencyMismatchError, IdempotencyBusyError: as `Once.run`.
        """
        if self.claim is not None:
            return
        fingerprint = await _fingerprint(self._request)
        claim = Claim(principal_id, self._key, fingerprint, uuid.uuid4())
        row = await self._once.claims.take(claim)
        if row is not None:
            headers = {**row.headers, "Idempotency-Replayed": "true"}
            raise Replayed(Response(row.body, row.status, headers=headers))
        self.claim = claim


async def _fingerprint(request: Request) -> bytes:
    """Digest what makes a request the same: method, address and body without its secrets."""
    # what comes along with a DELETE means nothing (RFC 9110, 9.3.5), and nobody has checked it
    value: Any = None
    if request.method != "DELETE" and _is_json(request):
        body = await request.body()
        value = _without_secrets(orjson.loads(body)) if body else None
    elif request.method != "DELETE":  # an upload, too large to be read twice
        value = request.headers.get("content-length")
    told = [request.method, request.url.path, request.url.query, value]
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).digest()


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "")
    return not kind or kind.partition(";")[0].strip().lower() == "application/json"


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_secrets(v) for k, v in value.items() if k not in _SECRETS}
    return [_without_secrets(one) for one in value] if isinstance(value, list) else value
