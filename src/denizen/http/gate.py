"""Who may pass: the bearer token of a request, and the roles a route asks for."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from denizen.db.direct import Row
from denizen.errors import NotAllowedError, NotSignedInError
from denizen.sessions.scenarios import SessionScenarios
from denizen.users.values import Role

bearer = HTTPBearer(
    scheme_name="bearer",
    description="The `token` that POST /v1/sessions answers.",
    auto_error=False,
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
Check = Callable[..., Awaitable[Row]]


class Gate:
    """Dependencies that let a request through; they ask the database at every request."""

    def __init__(self, sessions: SessionScenarios[Any]) -> None:
        self._sessions = sessions

    def allow(self, *roles: Role) -> Check:
        """Make a dependency that lets these roles through.

        Raises:
            NotSignedInError: when called, without a live session.
            NotAllowedError: when called, for another role.
        """

        async def check(credentials: Credentials) -> Row:
            row = await self._sessions.require_row(bearer_token(credentials))
            if row["role"] not in roles:
                raise NotAllowedError
            return row

        return check


def bearer_token(credentials: HTTPAuthorizationCredentials | None) -> str:
    """Give the token of the `Authorization` header.

    Raises:
        NotSignedInError: there is none.
    """
    if credentials is None:
        raise NotSignedInError
    return credentials.credentials
