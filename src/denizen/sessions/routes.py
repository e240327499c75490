"""`/v1/sessions` and `/v1/me`: parse, call one scenario, answer."""

from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from denizen.db.direct import Row
from denizen.errors import NotSignedInError
from denizen.http.gate import Credentials, Gate, bearer_token
from denizen.http.problems import documented
from denizen.http.route import Route
from denizen.sessions.scenarios import SessionScenarios
from denizen.sessions.schemas import Introspect, IntrospectionView, SignedInView, SignIn
from denizen.users.schemas import UserView


class SessionRoutes:
    """The routes over one `SessionScenarios`."""

    def __init__(self, sessions: SessionScenarios[Any], gate: Gate) -> None:
        self._sessions = sessions
        self._gate = gate
        self.router = router = APIRouter(prefix="/v1", tags=["sessions"], route_class=Route)
        router.add_api_route(
            "/sessions",
            self.sign_in,
            methods=["POST"],
            status_code=201,
            response_model=SignedInView,
            responses=documented(400, 401, 408, 413, 415, 422),
        )
        router.add_api_route(
            "/me",
            self.who_am_i,
            methods=["GET"],
            response_model=UserView,
            responses=documented(401),
        )
        router.add_api_route(
            "/introspections",
            self.introspect,
            methods=["POST"],
            response_model=IntrospectionView,
            response_model_exclude_none=True,
            dependencies=[Depends(gate.allow(scope="sessions:read"))],
            responses=documented(400, 401, 403, 408, 413, 415, 422),
        )
        router.add_api_route(
            "/me/sessions/current",
            self.sign_out,
            methods=["DELETE"],
            status_code=204,
            responses=documented(401),
        )

    async def sign_in(self, request: Request, payload: SignIn) -> SignedInView:
        """Sign in; every refusal is the same 401."""
        password = payload.password.get_secret_value()
        actor = self._gate.actor_of(request)
        started = await self._sessions.sign_in(payload.email, password, actor=actor)
        return SignedInView(
            token=started.token.text,
            expires_at=started.expires_at,
            user=UserView.of(started.user),
        )

    async def who_am_i(self, credentials: Credentials) -> Response:
        """Tell who is signed in."""
        body = await self.me(bearer_token(credentials))
        return Response(body, media_type="application/json")

    async def me(self, token: str) -> bytes:
        """Give the JSON of whoever that token belongs to.

        Raises:
            NotSignedInError: there is no live session.
        """
        return _as_json(await self._sessions.require_row(token))

    async def sign_out(self, request: Request, credentials: Credentials) -> None:
        """End this session; its token is dead at the next request."""
        actor = self._gate.actor_of(request)
        await self._sessions.sign_out(bearer_token(credentials), actor=actor)

    async def introspect(self, payload: Introspect) -> IntrospectionView:
        """Tell whether a token is live, and whose it is; what is no token is simply not active."""
        try:
            row = await self._sessions.require_row(payload.token)
        except NotSignedInError:
            return IntrospectionView(active=False)
        return IntrospectionView(
            active=True,
            user=UserView.model_validate_json(_as_json(row)),
            expires_at=row["session_expires_at"],
        )


def _as_json(row: Row) -> bytes:
    """Write `UserView` without building it: this answer is made at every request of every app."""
    view = {
        "id": str(row["id"]),
        "email": row["email"],
        "username": row["username"],
        "role": row["role"],
        "is_active": row["is_active"],
        "email_verified": row["email_verified_at"] is not None,
        "locale": row["locale"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "version": row["version"],
    }
    return orjson.dumps(view, option=orjson.OPT_UTC_Z)
