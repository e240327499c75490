"""Who may pass: the bearer token of a request, and the roles or the scope that a route asks for."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from denizen.audit.model import Actor
from denizen.errors import NotAllowedError, NotSignedInError
from denizen.http.client import client_address
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


class Gate:
    """Dependencies that let a request through; they ask the database at every request.

    Args:
        sessions: who is behind a token.
        keys: what is behind a key.
        trusted: the proxies whose word about the client's address counts.
    """

    def __init__(
        self,
        sessions: SessionScenarios[Any],
        keys: KeyScenarios[Any],
        trusted: Sequence[Network] = (),
    ) -> None:
        self._sessions = sessions
        self._keys = keys
        self._trusted = trusted

    def allow(self, *roles: Role, scope: Scope | None = None) -> Check:
        """Make a dependency that lets these roles and keys with this scope through.

        Whoever passes is the actor of the request (`actor_of`).

        Raises:
            NotSignedInError: when called, without a live session or key.
            NotAllowedError: when called, for another role, or a key without the scope.
        """

        async def check(request: Request, credentials: Credentials) -> Actor:
            token = bearer_token(credentials)
            here = self.actor_of(request)
            if token.startswith(KEY_PREFIX):
                key = await self._keys.require_key(token)
                if scope not in key.scopes:
                    raise NotAllowedError
                actor = replace(here, kind="key", id=key.id)
            else:
                row = await self._sessions.require_row(token)
                if row["role"] not in roles:
                    raise NotAllowedError
                actor = replace(here, kind="user", id=row["id"])
            request.state.actor = actor
            return actor

        return check

    def actor_of(self, request: Request) -> Actor:
        """Give who acts: whoever passed the gate, or else somebody unknown at that address."""
        known: Actor | None = getattr(request.state, "actor", None)
        if known is not None:
            return known
        address = client_address(request.scope, self._trusted)
        return Actor("anonymous", None, address, request.headers.get("user-agent"))


def bearer_token(credentials: HTTPAuthorizationCredentials | None) -> str:
    """Give the token of the `Authorization` header.

    Raises:
        NotSignedInError: there is none.
    """
    if credentials is None:
        raise NotSignedInError
    return credentials.credentials
