"""What goes in and out of the sessions slice."""

from datetime import datetime

from pydantic import BaseModel, Field, SecretStr, field_serializer

from denizen.clock import rfc3339
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
    expires_at: datetime | None = None

    @field_serializer("expires_at", when_used="json")
    def _as_utc(self, value: datetime | None) -> str | None:
        return None if value is None else rfc3339(value)


class SignedInView(BaseModel):
    """A fresh session: the token, shown this once, and the instant after which it is dead."""

    token: str = Field(examples=["dz_AZ..."])
    expires_at: datetime
    user: UserView

    @field_serializer("expires_at", when_used="json")
    def _as_utc(self, value: datetime) -> str:
        return rfc3339(value)
