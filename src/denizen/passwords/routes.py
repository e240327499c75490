"""`/v1/password-resets` and `/v1/me/password`: parse, call one scenario, answer."""

from typing import Any

from fastapi import Request, Response

from denizen.http.gate import Gate, unit_of
from denizen.http.language import language_of
from denizen.http.problems import documented
from denizen.http.route import Routes
from denizen.passwords.scenarios import PasswordScenarios
from denizen.passwords.schemas import ChangePassword, ConfirmReset, RequestReset


class PasswordRoutes:
    """The routes over one `PasswordScenarios`."""

    def __init__(self, passwords: PasswordScenarios[Any], gate: Gate, routes: Routes) -> None:
        self._passwords = passwords
        self._gate = gate
        add = routes.under("/v1", "passwords")
        add(
            "/password-resets",
            self.request_reset,
            methods=["POST"],
            status_code=202,
            response_class=Response,
            responses=documented(400, 408, 413, 415, 422, 429),
        )
        add(
            "/password-resets/confirm",
            self.confirm_reset,
            methods=["POST"],
            status_code=204,
            responses=documented(400, 408, 413, 415, 422),
        )
        add(
            "/me/password",
            self.change_password,
            methods=["PUT"],
            status_code=204,
            dependencies=[gate.signed_in],
            responses=documented(400, 401, 403, 408, 409, 413, 415, 422, 429),
        )

    async def request_reset(self, request: Request, payload: RequestReset) -> Response:
        """Ask for a link to set a new password; the answer is the same for every address."""
        locale = language_of(request.headers.get("accept-language", ""))
        actor = self._gate.actor_of(request)
        await self._passwords.request_reset(payload.email, locale, actor=actor)
        return Response(status_code=202)

    async def confirm_reset(self, request: Request, payload: ConfirmReset) -> None:
        """Set a new password by a link; every session ends, and nobody is signed in."""
        password = payload.password.get_secret_value()
        actor = self._gate.actor_of(request)
        await self._passwords.confirm_reset(payload.token, password, actor=actor)

    async def change_password(self, request: Request, payload: ChangePassword) -> None:
        """Change one's own password; every other session ends."""
        me = self._gate.me(request)
        await self._passwords.change_password(
            me.user_id,
            payload.current_password.get_secret_value(),
            payload.new_password.get_secret_value(),
            actor=self._gate.actor_of(request),
            session_id=me.session_id,
            db=unit_of(request),
        )
