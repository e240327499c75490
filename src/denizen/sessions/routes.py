"""`/v1/sessions` and `/v1/me`: parse, call one scenario, answer."""

import uuid
from typing import Annotated, Any, Final

import orjson
from fastapi import Depends, Path, Request, Response
from pydantic import BeforeValidator

from denizen.db.direct import Row
from denizen.errors import NotSignedInError
from denizen.http.gate import Credentials, Gate, bearer_token, unit_of
from denizen.http.problems import documented
from denizen.http.route import Add, Routes
from denizen.http.values import canonical_uuid
from denizen.sessions.scenarios import SessionScenarios
from denizen.sessions.schemas import (
    Introspect,
    IntrospectionView,
    SessionList,
    SessionView,
    SignedInView,
    SignIn,
)
from denizen.users.schemas import UserView

CLEAR: Final = {"Clear-Site-Data": '"cache", "cookies", "storage"'}  # ASVS 14.3.1
SessionId = Annotated[
    uuid.UUID, BeforeValidator(canonical_uuid), Path(alias="id", description="the session's id")
]


class SessionRoutes:
    """The routes over one `SessionScenarios`."""

    def __init__(self, sessions: SessionScenarios[Any], gate: Gate, routes: Routes) -> None:
        self._sessions = sessions
        self._gate = gate
        add = routes.under("/v1", "sessions")
        self._add_signing_in(add)
        self._add_devices(add)

    def _add_signing_in(self, add: Add) -> None:
        add(
            "/sessions",
            self.sign_in,
            methods=["POST"],
            status_code=201,
            response_model=SignedInView,
            responses=documented(400, 401, 408, 413, 415, 422, 429),
        )
        add(
            "/me",
            self.who_am_i,
            methods=["GET"],
            response_model=UserView,
            responses=documented(401),
        )
        only = self._gate.allow(scope="sessions:read", replays=False)
        add(
            "/introspections",
            self.introspect,
            methods=["POST"],
            response_model=IntrospectionView,
            response_model_exclude_none=True,
            dependencies=[Depends(only)],
            responses=documented(400, 401, 403, 408, 413, 415, 422),
        )

    def _add_devices(self, add: Add) -> None:
        options: dict[str, Any] = {"dependencies": [self._gate.signed_in]}
        add(
            "/me/sessions",
            self.list_sessions,
            methods=["GET"],
            response_model=SessionList,
            responses=documented(401),
            **options,
        )
        for path, act, answers in (
            ("/me/sessions", self.end_all_sessions, documented(401, 409, 422)),
            ("/me/sessions/current", self.sign_out, documented(401, 409, 422)),
            ("/me/sessions/{id}", self.end_session, documented(401, 404, 409, 422)),
        ):
            add(path, act, methods=["DELETE"], status_code=204, responses=answers, **options)

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

    async def list_sessions(self, request: Request) -> SessionList:
        """List the devices that are signed in, the last used first."""
        me = self._gate.me(request)
        rows = await self._sessions.list_sessions(me.user_id)
        return SessionList(items=[SessionView.of(row, me.session_id) for row in rows])

    async def sign_out(self, request: Request) -> Response:
        """End this session; its token is dead at the next request."""
        await self._end(request, self._gate.me(request).session_id)
        return Response(status_code=204, headers=CLEAR)

    async def end_session(self, request: Request, session_id: SessionId) -> None:
        """End one of one's own sessions."""
        await self._end(request, session_id)

    async def end_all_sessions(self, request: Request) -> Response:
        """Sign out everywhere, here too."""
        await self._sessions.end_all_sessions(
            self._gate.me(request).user_id,
            actor=self._gate.actor_of(request),
            db=unit_of(request),
        )
        return Response(status_code=204, headers=CLEAR)

    async def _end(self, request: Request, session_id: uuid.UUID) -> None:
        await self._sessions.end_session(
            self._gate.me(request).user_id,
            session_id,
            actor=self._gate.actor_of(request),
            db=unit_of(request),
        )

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
