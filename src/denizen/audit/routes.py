"""`/v1/audit-events`: parse, call one scenario, answer."""

import uuid
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from denizen.audit.scenarios import AuditScenarios
from denizen.audit.schemas import EventPage, EventView
from denizen.http.gate import Gate
from denizen.http.problems import documented
from denizen.http.route import Routes
from denizen.http.values import canonical_uuid, digits


class EventQuery(BaseModel):
    """What the list may be asked for."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    user_id: Annotated[uuid.UUID, BeforeValidator(canonical_uuid)] | None = None
    action: str | None = Field(None, max_length=64, pattern=r"^[a-z_.]+$")
    limit: Annotated[int, BeforeValidator(digits)] = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=4096)


class AuditRoutes:
    """The route over one `AuditScenarios`."""

    def __init__(self, audit: AuditScenarios[Any], gate: Gate, routes: Routes) -> None:
        self._audit = audit
        add = routes.under("/v1/audit-events", "audit")
        add(
            "",
            self.list_events,
            methods=["GET"],
            response_model=EventPage,
            dependencies=[Depends(gate.allow("admin", scope="audit:read"))],
            responses=documented(401, 403, 422),
        )

    async def list_events(self, query: Annotated[EventQuery, Query()]) -> EventPage:
        """List what happened, the newest first."""
        page = await self._audit.list_events(
            user_id=query.user_id, action=query.action, limit=query.limit, cursor=query.cursor
        )
        return EventPage(
            items=[EventView.model_validate(row) for row in page], next_cursor=page.next_cursor
        )
