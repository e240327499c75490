"""What goes into the registrations slice."""

from pydantic import Field

from denizen.users.schemas import Email, Password, Payload, Token, Username
from denizen.users.values import EMAIL_MAX, USERNAME_MAX, Locale


class Register(Payload):
    """An address to be registered; the language of the mail is the request's unless it is said."""

    email: Email = Field(max_length=EMAIL_MAX)
    locale: Locale | None = None


class ConfirmRegistration(Payload):
    """The token of the mail, and what its owner chooses."""

    token: Token
    username: Username = Field(max_length=USERNAME_MAX)
    password: Password
