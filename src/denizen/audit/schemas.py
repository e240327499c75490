"""What the audit slice answers."""

import uuid
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, field_serializer

from denizen.audit.model import ActorKind
from denizen.clock import rfc3339


class EventView(BaseModel):
    """One event: who did what to whom, from where, when; the changed fields before and after."""

    model_config = ConfigDict(from_attributes=True, hide_input_in_errors=True)

    id: uuid.UUID
    at: datetime
    action: str
    user_id: uuid.UUID
    actor_kind: ActorKind
    actor_id: uuid.UUID | None
    address: str | None
    user_agent: str | None
    before: dict[str, Any]
    after: dict[str, Any]

    @field_serializer("at", when_used="json")
    def _as_utc(self, value: datetime) -> str:
        return rfc3339(value)


class EventPage(BaseModel):
    """One page of events; `next_cursor` is null on the last."""

    items: list[EventView]
    next_cursor: str | None
