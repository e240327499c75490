"""`/v1/registrations`: parse, call one scenario, answer."""

from typing import Any

from fastapi import Request, Response

from denizen.http.gate import Gate
from denizen.http.language import language_of
from denizen.http.problems import documented
from denizen.http.route import Routes
from denizen.registrations.scenarios import RegistrationScenarios
from denizen.registrations.schemas import ConfirmRegistration, Register
from denizen.users.schemas import UserView


class RegistrationRoutes:
    """The routes over one `RegistrationScenarios`."""

    def __init__(
        self, registrations: RegistrationScenarios[Any], gate: Gate, routes: Routes
    ) -> None:
        self._registrations = registrations
        self._gate = gate
        add = routes.under("/v1/registrations", "registrations")
        add(
            "",
            self.register,
            methods=["POST"],
            status_code=202,
            response_class=Response,
            responses=documented(400, 403, 408, 413, 415, 422, 429),
        )
        add(
            "/confirm",
            self.confirm_registration,
            methods=["POST"],
            status_code=201,
            response_model=UserView,
            responses=documented(400, 403, 408, 409, 413, 415, 422),
        )

    async def register(self, request: Request, payload: Register) -> Response:
        """Ask for a link; the answer is the same whether or not the address is known."""
        locale = payload.locale or language_of(request.headers.get("accept-language", ""))
        actor = self._gate.actor_of(request)
        await self._registrations.request(payload.email, locale, actor=actor)
        return Response(status_code=202)

    async def confirm_registration(
        self, request: Request, payload: ConfirmRegistration
    ) -> UserView:
        """Make the account; whoever opened the mail chooses username and password."""
        user = await self._registrations.confirm(
            payload.token,
            payload.username,
            payload.password.get_secret_value(),
            actor=self._gate.actor_of(request),
        )
        return UserView.of(user)
