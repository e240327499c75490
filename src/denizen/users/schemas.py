"""What goes in and out of the users slice: strict, and closed against unknown fields."""

import uuid
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError

from denizen.clock import Rfc3339
from denizen.errors import InvalidError
from denizen.users.model import UserMixin
from denizen.users.values import EMAIL_MAX, USERNAME_MAX, Locale, Role, parse_email, parse_username


def _as_validator(parse: Any) -> AfterValidator:
    """Make a pydantic validator of one of our parsers, with our codes and without its input."""

    def check(value: str) -> str:
        try:
            parsed: str = parse(value)
        except InvalidError as error:
            issue = error.issues[0]
            code: Any = issue.code  # pydantic wants a literal; ours are all written in values.py
            raise PydanticCustomError(code, "{text}", {"text": issue.message}) from None
        return parsed

    return AfterValidator(check)


Email = Annotated[
    str,
    _as_validator(parse_email),
    Field(description="RFC 5321/6531; unique in any spelling", examples=["ann@example.com"]),
]
Username = Annotated[
    str,
    _as_validator(parse_username),
    Field(description="RFC 8265 UsernameCaseMapped, no @, no spaces", examples=["ann"]),
]
Password = Annotated[
    SecretStr,
    Field(
        description="15-256 code points, at most 1,024 bytes, not on the blocklist",
        examples=["a fine long passphrase 77"],
        json_schema_extra={"writeOnly": True},
    ),
]


Token = Annotated[str, Field(max_length=1024, json_schema_extra={"writeOnly": True})]


class Payload(BaseModel):
    """The base of every request body: strict types, no unknown fields, no input in its errors."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class OneToken(Payload):
    """The token of a link in a mail."""

    token: Token


class CreateUser(Payload):
    """A new user; without a password nobody can sign in until one is set."""

    email: Email = Field(max_length=EMAIL_MAX)
    username: Username = Field(max_length=USERNAME_MAX)
    password: Password | None = None
    role: Role = "user"
    is_active: bool = True
    email_verified: bool = False
    locale: Locale = "en"


class UpdateUser(Payload):
    """Changes to a user: what is left out stays. A new address is unconfirmed unless said."""

    email: Email = Field(default="", max_length=EMAIL_MAX)
    username: Username = Field(default="", max_length=USERNAME_MAX)
    role: Role = "user"
    is_active: bool = True
    email_verified: bool = False
    locale: Locale = "en"

    def given(self) -> dict[str, Any]:
        """Give the fields that the caller named, with their values."""
        return self.model_dump(include=self.model_fields_set)


class UserView(BaseModel):
    """A user, as every answer shows one."""

    model_config = ConfigDict(from_attributes=True, hide_input_in_errors=True)

    id: uuid.UUID
    email: str
    username: str
    role: Role
    is_active: bool
    email_verified: bool
    locale: Locale
    created_at: Rfc3339
    updated_at: Rfc3339
    version: int

    @classmethod
    def of(cls, user: UserMixin) -> Self:
        """Show a user."""
        return cls.model_validate(user)


class UserPage(BaseModel):
    """One page of a list of users; `next_cursor` is null on the last."""

    items: list[UserView]
    next_cursor: str | None


UserOrder = Literal["created_at", "-created_at", "email", "-email", "username", "-username"]
