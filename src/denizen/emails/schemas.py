"""What goes into the emails slice."""

from pydantic import Field, SecretStr

from denizen.users.schemas import Email, Payload
from denizen.users.values import EMAIL_MAX


class RequestVerification(Payload):
    """An address that waits to be confirmed."""

    email: Email = Field(max_length=EMAIL_MAX)


class ChangeEmail(Payload):
    """The new address, and the password once more."""

    email: Email = Field(max_length=EMAIL_MAX)
    password: SecretStr
