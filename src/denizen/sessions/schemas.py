"""What goes in and out of the sessions slice."""

import uuid
from typing import Any, Self

from pydantic import BaseModel, Field, SecretStr
from sqlalchemy import Row

from denizen.clock import Rfc3339
from denizen.users.schemas import Email, Payload, UserView
from denizen.users.values import EMAIL_MAX


class SignIn(Payload):
    """Credentials. A password of any length is looked at: a wrong one is wrong, not invalid."""

    email: Email = Field(max_length=EMAIL_MAX)
    password: SecretStr = Field(examples=["a fine long passphrase 77"])


class Introspect(Payload):
    """A token that somebody showed to another service."""

    token: str = Field(max_length=1024)


class IntrospectionView(BaseModel):
    """Whether a token is live; whose, and until when, where it is."""

    active: bool
    user: UserView | None = None
    expires_at: Rfc3339 | None = None


class SignedInView(BaseModel):
    """A fresh session: the token, shown this once, and the instant after which it is dead."""

    token: str = Field(examples=["dz_AZ..."])
    expires_at: Rfc3339
    user: UserView


class SessionView(BaseModel):
    """A signed-in device; `last_seen_at` is true to the minute."""

    id: uuid.UUID
    created_at: Rfc3339
    last_seen_at: Rfc3339
    expires_at: Rfc3339
    address: str | None
    user_agent: str | None
    is_current: bool

    @classmethod
    def of(cls, row: Row[Any], current: uuid.UUID) -> Self:
        """Show a session, and whether it is the one that asks."""
        return cls(
            id=row.id,
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            expires_at=row.expires_at,
            address=row.address,
            user_agent=row.user_agent,
            is_current=row.id == current,
        )


class SessionList(BaseModel):
    """My devices, the last used first."""

    items: list[SessionView]
