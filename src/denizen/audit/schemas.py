"""What the audit slice answers."""

import uuid
from typing import Any

from pydantic import BaseModel, ConfigDict

from denizen.audit.model import ActorKind
from denizen.clock import Rfc3339


class EventView(BaseModel):
    """One event: who did what to whom, from where, when; the changed fields before and after."""

    model_config = ConfigDict(from_attributes=True, hide_input_in_errors=True)

    id: uuid.UUID
    at: Rfc3339
    action: str
    user_id: uuid.UUID
    actor_kind: ActorKind
    actor_id: uuid.UUID | None
    address: str | None
    user_agent: str | None
    before: dict[str, Any]
    after: dict[str, Any]


class EventPage(BaseModel):
    """One page of events; `next_cursor` is null on the last."""

    items: list[EventView]
    next_cursor: str | None
