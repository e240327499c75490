"""What every style gives, and the HTTP around it, which is the same for all and counted for none.

A style is a package with `open_users(url)` and `metadata`; its scenarios raise our errors, or
`HTTPException` as the sketches do.
"""

import importlib
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import MetaData

from denizen.db.errors import DataError
from denizen.errors import DenizenError
from denizen.http.problems import from_error, from_validation
from denizen.users.schemas import Email, Username

STYLES: Final = {
    "a": "a_first_sketch",
    "b": "b_second_sketch",
    "c": "c_model_verbs",
    "d": "d_functions",
    "e": "e_repository",
}


class NewUser(BaseModel):
    """Who wants an account."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    email: Email
    username: Username
    password: str = Field(min_length=15, max_length=256, repr=False)


class NewEmail(BaseModel):
    """Another address; `version` is the user's as the caller read it, None takes whatever it is."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    email: Email
    version: int | None = None


class User(Protocol):
    """What a style's user shows."""

    @property
    def id(self) -> Any:
        """The primary key."""
        ...

    @property
    def email(self) -> Any:
        """The address as typed."""
        ...

    @property
    def username(self) -> Any:
        """The name as typed."""
        ...

    @property
    def is_active(self) -> Any:
        """Whether the account can be used."""
        ...


@dataclass(frozen=True, slots=True)
class Users:
    """The outer interface: three scenarios."""

    create_user: Callable[[NewUser], Awaitable[User]]
    change_email: Callable[[uuid.UUID, NewEmail], Awaitable[User]]
    delete_user: Callable[[uuid.UUID], Awaitable[None]]


class Style(Protocol):
    """A style's package."""

    metadata: MetaData

    def open_users(self, url: str) -> AbstractAsyncContextManager[Users]:
        """Open the style on a database that has its tables."""
        ...


def load(name: str) -> Style:
    """Import a style by its letter, or a copy of one by its package's full name."""
    found: Any = importlib.import_module(f"styles.{STYLES[name]}" if name in STYLES else name)
    return found  # type: ignore[no-any-return]  # a module is known by what it has


def create_app(users: Users) -> FastAPI:
    """Put the scenarios behind HTTP."""
    app = FastAPI()

    @app.exception_handler(DenizenError)
    @app.exception_handler(DataError)
    async def known(_: Request, error: Exception) -> Response:
        response = from_error(error) if isinstance(error, DenizenError | DataError) else None
        return response or Response(status_code=500)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: Exception) -> Response:
        return from_validation(error)  # type: ignore[arg-type]  # registered for this kind alone

    @app.post("/users", status_code=201)
    async def create_user(payload: NewUser) -> dict[str, Any]:
        return _view(await users.create_user(payload))

    @app.put("/users/{user_id}/email")
    async def change_email(user_id: uuid.UUID, payload: NewEmail) -> dict[str, Any]:
        return _view(await users.change_email(user_id, payload))

    @app.delete("/users/{user_id}", status_code=204)
    async def delete_user(user_id: uuid.UUID) -> None:
        await users.delete_user(user_id)

    return app


def _view(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "username": user.username,
        "is_active": user.is_active,
        "version": getattr(user, "version", None),  # the sketches have none
    }
