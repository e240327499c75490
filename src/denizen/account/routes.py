"""`/v1/me` and `/v1/deletions`: parse, call one scenario, answer."""

from typing import Any

from fastapi import Request, Response

from denizen.account.scenarios import AccountScenarios
from denizen.account.schemas import DeleteMe, ExportView, UpdateMe
from denizen.http.gate import Gate, unit_of
from denizen.http.problems import documented
from denizen.http.route import Routes
from denizen.users.schemas import OneToken, UserView


class AccountRoutes:
    """The routes over one `AccountScenarios`."""

    def __init__(self, account: AccountScenarios[Any], gate: Gate, routes: Routes) -> None:
        self._account = account
        self._gate = gate
        add = routes.under("/v1", "my account")
        add(
            "/me",
            self.update_me,
            methods=["PATCH"],
            response_model=UserView,
            dependencies=[gate.signed_in],
            responses=documented(400, 401, 408, 409, 413, 415, 422),
        )
        add(
            "/me/export",
            self.export,
            methods=["GET"],
            response_model=ExportView,
            dependencies=[gate.signed_in],
            responses=documented(401),
        )
        add(
            "/me/deletion",
            self.request_deletion,
            methods=["POST"],
            status_code=202,
            response_class=Response,
            dependencies=[gate.signed_in],
            responses=documented(400, 401, 403, 408, 409, 413, 415, 422, 429),
        )
        add(
            "/deletions/undo",
            self.undo_deletion,
            methods=["POST"],
            status_code=204,
            responses=documented(400, 408, 413, 415, 422),
        )

    async def update_me(self, request: Request, payload: UpdateMe) -> UserView:
        """Change one's own username or language."""
        user = await self._account.update_me(
            self._gate.me(request).user_id,
            payload.given(),
            actor=self._gate.actor_of(request),
            db=unit_of(request),
        )
        return UserView.of(user)

    async def export(self, request: Request) -> ExportView:
        """Take along all that is held about oneself."""
        me = self._gate.me(request)
        return ExportView.of(await self._account.export(me.user_id), me.session_id)

    async def request_deletion(self, request: Request, payload: DeleteMe) -> Response:
        """Have one's own account erased in 30 days; a link in a mail undoes it until then."""
        await self._account.request_deletion(
            self._gate.me(request).user_id,
            payload.password.get_secret_value(),
            actor=self._gate.actor_of(request),
            db=unit_of(request),
        )
        return Response(status_code=202)

    async def undo_deletion(self, request: Request, payload: OneToken) -> None:
        """Keep an account that was to be erased."""
        await self._account.undo_deletion(payload.token, actor=self._gate.actor_of(request))
