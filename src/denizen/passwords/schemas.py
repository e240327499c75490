"""What goes into the passwords slice."""

from pydantic import Field, SecretStr

from denizen.users.schemas import Email, Password, Payload, Token
from denizen.users.values import EMAIL_MAX


class RequestReset(Payload):
    """Whose password was forgotten."""

    email: Email = Field(max_length=EMAIL_MAX)


class ConfirmReset(Payload):
    """The token of the mail, and the new password."""

    token: Token
    password: Password


class ChangePassword(Payload):
    """The password as it is, and as it is to be."""

    current_password: SecretStr
    new_password: Password
