"""`/v1/email-verifications`, `/v1/email-changes`, `/v1/me/email`: parse, call, answer."""

from typing import Any

from fastapi import Request, Response

from denizen.emails.scenarios import EmailScenarios
from denizen.emails.schemas import ChangeEmail, RequestVerification
from denizen.http.gate import Gate, unit_of
from denizen.http.language import language_of
from denizen.http.problems import documented
from denizen.http.route import Routes
from denizen.users.schemas import OneToken


class EmailRoutes:
    """The routes over one `EmailScenarios`."""

    def __init__(self, emails: EmailScenarios[Any], gate: Gate, routes: Routes) -> None:
        self._emails = emails
        self._gate = gate
        add = routes.under("/v1", "e-mail")
        add(
            "/email-verifications",
            self.request_verification,
            methods=["POST"],
            status_code=202,
            response_class=Response,
            responses=documented(400, 408, 413, 415, 422, 429),
        )
        for path, act in (
            ("/email-verifications/confirm", self.confirm_verification),
            ("/email-changes/confirm", self.confirm_change),
            ("/email-changes/undo", self.undo_change),
        ):
            add(
                path,
                act,
                methods=["POST"],
                status_code=204,
                responses=documented(400, 408, 409, 413, 415, 422),
            )
        add(
            "/me/email",
            self.change_email,
            methods=["POST"],
            status_code=202,
            response_class=Response,
            dependencies=[gate.signed_in],
            responses=documented(400, 401, 403, 408, 409, 413, 415, 422, 429),
        )

    async def request_verification(
        self, request: Request, payload: RequestVerification
    ) -> Response:
        """Ask for the link once more; the answer is the same for every address."""
        locale = language_of(request.headers.get("accept-language", ""))
        actor = self._gate.actor_of(request)
        await self._emails.request_verification(payload.email, locale, actor=actor)
        return Response(status_code=202)

    async def confirm_verification(self, request: Request, payload: OneToken) -> None:
        """Confirm the address of an account that somebody else made."""
        await self._emails.confirm_verification(payload.token, actor=self._gate.actor_of(request))

    async def change_email(self, request: Request, payload: ChangeEmail) -> Response:
        """Ask for another address; it becomes the account's when its owner confirms."""
        await self._emails.request_change(
            self._gate.me(request).user_id,
            payload.email,
            payload.password.get_secret_value(),
            actor=self._gate.actor_of(request),
            db=unit_of(request),
        )
        return Response(status_code=202)

    async def confirm_change(self, request: Request, payload: OneToken) -> None:
        """Move the account to its new address."""
        await self._emails.confirm_change(payload.token, actor=self._gate.actor_of(request))

    async def undo_change(self, request: Request, payload: OneToken) -> None:
        """Give the account its old address back, or call the change off."""
        await self._emails.undo_change(payload.token, actor=self._gate.actor_of(request))
