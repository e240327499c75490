"""Idempotency-Key: one request, sent again and again, happens once and is answered alike.

Honoured where a caller is known, on methods that change something. The whole request runs in one
unit of work, into which the scenario joins its own, and the answer is stored in it: an answer that
was lost on its way is repeated, and an effect that was rolled back leaves the key free.
"""

import contextlib
import hashlib
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson
from fastapi import Request, Response
from sqlalchemy import Row

from denizen.clock import Clock
from denizen.db.errors import DataError, OutcomeUnknownError
from denizen.db.manager import DBSessionManager
from denizen.db.unit import Db
from denizen.errors import IdempotencyBusyError, InvalidError, Issue
from denizen.idempotency.queries import Claim, claim_key, keep_answer, release_key
from denizen.parts import Parts

HEADER: Final = "idempotency-key"
KEY_MAX: Final = 255
_RELEASES: Final = 3  # tries, of which nobody knows the outcome
_LEFT_MAX: Final = 1000  # claims; of more than that the lease will end
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
        self.db: DBSessionManager = parts.db
        self.keys = parts.tables.idempotency
        self.clock: Clock = parts.clock
        self._left: deque[Claim] = deque(maxlen=_LEFT_MAX)

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
            return await self.db.run(unit)
        except Replayed as replayed:
            return replayed.response
        except BaseException:
            await attempt.release()
            raise

    async def release(self, claim: Claim) -> None:
        """Give a claim back, or remember it while the database is away."""
        if not await self._give_back([claim]):
            self._left.append(claim)

    async def settle(self) -> bool:
        """Give back what is remembered; tell whether that was anything."""
        left = tuple(self._left)
        if not left or not await self._give_back(left):
            return False
        for claim in left:
            with contextlib.suppress(ValueError):  # somebody else did the same meanwhile
                self._left.remove(claim)
        return True

    async def _give_back(self, claims: Sequence[Claim]) -> bool:
        """Tell whether it is done; what nobody knows is done again: that does no harm."""

        async def unit(db: Db) -> None:
            for claim in claims:
                await release_key(db, self.keys, claim)

        for _ in range(_RELEASES):
            try:
                await self.db.run(unit)
            except OutcomeUnknownError:
                continue
            except DataError:
                return False
            return True
        return False

    async def _keep(self, db: Db, claim: Claim, response: Response) -> None:
        kept = {n: response.headers[n] for n in _KEPT_HEADERS if n in response.headers}
        body = bytes(response.body)
        status = response.status_code
        await keep_answer(db, self.keys, claim, status=status, headers=kept, body=body)


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
        try:
            row = await self._take(claim)
        except IdempotencyBusyError:
            if not await self._once.settle():  # it may be one that was never given back
                raise
            row = await self._take(claim)
        if row is not None:
            headers = {**row.headers, "Idempotency-Replayed": "true"}
            raise Replayed(Response(row.body, row.status, headers=headers))
        self.claim = claim

    async def _take(self, claim: Claim) -> Row[Any] | None:
        keys, now = self._once.keys, self._once.clock.db_now
        try:
            return await self._once.db.run(lambda db: claim_key(db, keys, claim, now))
        except OutcomeUnknownError:
            self.claim = replace(claim, is_sure=False)  # if it stands it is to be given back
            raise

    async def release(self) -> None:
        """Let the same request be tried again, at the latest when the lease ends."""
        if self.claim is not None:
            await self._once.release(self.claim)


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
