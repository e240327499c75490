"""What goes in and out of the account slice."""

import uuid
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlalchemy import Row

from denizen.account.queries import Holdings
from denizen.audit.schemas import EventView
from denizen.clock import Rfc3339
from denizen.sessions.schemas import SessionView
from denizen.users.schemas import Payload, Username, UserView
from denizen.users.values import USERNAME_MAX, Locale


class UpdateMe(Payload):
    """Changes to one's own account: what is left out stays."""

    username: Username = Field(default="", max_length=USERNAME_MAX)
    locale: Locale = "en"

    def given(self) -> dict[str, Any]:
        """Give the fields that the caller named, with their values."""
        return self.model_dump(include=self.model_fields_set)


class DeleteMe(Payload):
    """The password, once more."""

    password: SecretStr


class NetworkView(BaseModel):
    """A network that somebody has signed in from."""

    model_config = ConfigDict(from_attributes=True)

    network: str
    last_used_at: Rfc3339


class ExportView(BaseModel):
    """All that is held about a person."""

    user: UserView
    sessions: list[SessionView]
    known_networks: list[NetworkView]
    audit_events: list[EventView]

    @classmethod
    def of(cls, found: Holdings[Any], current: uuid.UUID) -> Self:
        """Show what was found."""
        return cls(
            user=UserView.of(found.user),
            sessions=[SessionView.of(row, current) for row in found.sessions],
            known_networks=[NetworkView.model_validate(row) for row in found.networks],
            audit_events=[_told(row, found.user.id) for row in found.events],
        )


def _told(row: Row[Any], user_id: uuid.UUID) -> EventView:
    """Show an event; where another user acted, their address and device are theirs."""
    event = EventView.model_validate(row)
    if event.actor_kind == "user" and event.actor_id != user_id:
        return event.model_copy(update={"address": None, "user_agent": None})
    return event
