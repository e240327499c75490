"""Who may pass: the bearer token of a request, and the roles or the scope that a route asks for."""

import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from denizen.audit.model import Actor
from denizen.db.direct import Row
from denizen.db.unit import Db
from denizen.errors import NotAllowedError, NotSignedInError
from denizen.http.client import client_address
from denizen.http.once import Once
from denizen.http.route import Route, Routes
from denizen.keys.model import KEY_PREFIX, Scope
from denizen.keys.scenarios import KeyScenarios
from denizen.network import Network
from denizen.sessions.scenarios import SessionScenarios
from denizen.users.values import Role

bearer = HTTPBearer(
    scheme_name="bearer",
    description="The `token` that POST /v1/sessions answers, or an API key.",
    auto_error=False,
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
Check = Callable[..., Awaitable[Actor]]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Me:
    """Who is signed in, and with which session."""

    user_id: uuid.UUID
    session_id: uuid.UUID


class Gate:
    """Dependencies that let a request through; they ask the database at every request.

    Args:
        sessions: who is behind a token.
        keys: what is behind a key.
        once: runs requests that carry an Idempotency-Key.
        trusted: the proxies whose word about the client's address counts.
    """

    def __init__(
        self,
        sessions: SessionScenarios[Any],
        keys: KeyScenarios[Any],
        once: Once,
        trusted: Sequence[Network] = (),
    ) -> None:
        self._sessions = sessions
        self._keys = keys
        self._trusted = trusted
        self._route_class = type("Route", (Route,), {"once": once})
        self.signed_in = Depends(self._signed_in)

    def routes(self, router: APIRouter, prefix: str = "") -> Routes:
        """Give what adds routes that stand behind this gate to a router."""
        return Routes(router, prefix, self._route_class)

    def allow(self, *roles: Role, scope: Scope | None = None, replays: bool = True) -> Check:
        """Make a dependency that lets these roles and keys with this scope through.

        Whoever passes is the actor of the request (`actor_of`). Without `replays` an
        Idempotency-Key means nothing.

        Raises:
            NotSignedInError: when called, without a live session or key.
            NotAllowedError: when called, for another role, or a key without the scope.
        """

        async def check(request: Request, credentials: Credentials) -> Actor:
            token = bearer_token(credentials)
            here = self.actor_of(request)
            if token.startswith(KEY_PREFIX):
                key = await self._keys.require_key(token)
                actor = replace(here, kind="key", id=key.id)
                if scope not in key.scopes:
                    log_refusal(request, actor)
                    raise NotAllowedError
            else:
                row = await self._sessions.require_row(token)
                actor = _let_in(request, here, row)
                if row["role"] not in roles:
                    log_refusal(request, actor)
                    raise NotAllowedError
            request.state.actor = actor
            if replays:
                await _claim(request, actor)
            return actor

        return check

    async def _signed_in(self, request: Request, credentials: Credentials) -> None:
        row = await self._sessions.require_row(bearer_token(credentials))
        request.state.actor = actor = _let_in(request, self.actor_of(request), row)
        await _claim(request, actor)

    def actor_of(self, request: Request) -> Actor:
        """Give who acts: whoever passed the gate, or else somebody unknown at that address."""
        known: Actor | None = getattr(request.state, "actor", None)
        if known is not None:
            return known
        address = client_address(request.scope, self._trusted)
        return Actor("anonymous", None, address, request.headers.get("user-agent"))

    def me(self, request: Request) -> Me:
        """Give who is signed in, behind the gate."""
        return cast("Me", request.state.me)


def unit_of(request: Request) -> Db | None:
    """Give the unit that a request with an Idempotency-Key runs in, for scenarios to join."""
    return getattr(request.state, "db", None)


def bearer_token(credentials: HTTPAuthorizationCredentials | None) -> str:
    """Give the token of the `Authorization` header.

    Raises:
        NotSignedInError: there is none.
    """
    if credentials is None:
        raise NotSignedInError
    return credentials.credentials


def log_refusal(request: Request, actor: Actor) -> None:
    """Log who was refused what (ASVS 16.3.2); the route's own path, for what was sent is text."""
    path = getattr(request.scope.get("route"), "path", "")
    _log.warning("%s %s was refused %s %s", actor.kind, actor.id, request.method, path)


def _let_in(request: Request, here: Actor, row: Row) -> Actor:
    request.state.me = Me(row["id"], row["session_id"])
    return replace(here, kind="user", id=row["id"])


async def _claim(request: Request, actor: Actor) -> None:
    attempt = getattr(request.state, "attempt", None)
    if attempt is not None and actor.id is not None:
        await attempt.claim_for(actor.id)
