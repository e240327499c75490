"""`/v1/users`: parse, call one scenario, answer."""

import re
import uuid
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from denizen.db.errors import StaleVersionError
from denizen.errors import InvalidError, Issue
from denizen.http.gate import Gate, unit_of
from denizen.http.problems import documented
from denizen.http.route import Routes
from denizen.http.values import canonical_uuid, digits
from denizen.users.queries import UserFilter
from denizen.users.scenarios import UserScenarios
from denizen.users.schemas import CreateUser, UpdateUser, UserOrder, UserPage, UserView
from denizen.users.values import Role

_ETAG = re.compile(r'(?P<weak>W/)?"(?P<version>[0-9]{1,9})"')
UserId = Annotated[
    uuid.UUID, BeforeValidator(canonical_uuid), Path(alias="id", description="the user's id")
]
Erase = Annotated[Literal["now"], Query(description="`now`: at once")]
_TEXT = r"^[^\x00-\x1f\x7f]*$"  # PostgreSQL's text holds no NUL


class ListQuery(BaseModel):
    """What a list may be asked for."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    limit: Annotated[int, BeforeValidator(digits)] = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=4096, description="`next_cursor` of the last page")
    q: str | None = Field(None, min_length=3, max_length=100, pattern=_TEXT)
    is_active: bool | None = None
    role: Role | None = None
    email_verified: bool | None = None
    email: str | None = Field(None, max_length=254, pattern=_TEXT)
    username: str | None = Field(None, max_length=64, pattern=_TEXT)
    order: UserOrder = "-created_at"

    def wanted(self) -> UserFilter:
        """Give the conditions without the paging."""
        return UserFilter(**self.model_dump(exclude={"limit", "cursor", "order"}))


class UserRoutes:
    """The routes over one `UserScenarios`."""

    def __init__(self, users: UserScenarios[Any], gate: Gate, routes: Routes) -> None:
        self._users = users
        self._gate = gate
        readers = [Depends(gate.allow("admin", "support", scope="users:read"))]
        writers = [Depends(gate.allow("admin", scope="users:write"))]
        add = routes.under("/v1/users", "users")
        add(
            "",
            self.create_user,
            methods=["POST"],
            status_code=201,
            response_model=UserView,
            dependencies=writers,
            responses=documented(400, 401, 403, 408, 409, 413, 415, 422),
        )
        add(
            "",
            self.list_users,
            methods=["GET"],
            response_model=UserPage,
            dependencies=readers,
            responses=documented(401, 403, 422),
        )
        add(
            "/{id}",
            self.get_user,
            methods=["GET"],
            response_model=UserView,
            dependencies=readers,
            responses=documented(401, 403, 404, 422),
        )
        add(
            "/{id}",
            self.update_user,
            methods=["PATCH"],
            response_model=UserView,
            dependencies=writers,
            responses=documented(400, 401, 403, 404, 408, 409, 412, 413, 415, 422),
        )
        add(
            "/{id}",
            self.delete_user,
            methods=["DELETE"],
            status_code=204,
            dependencies=writers,
            responses=documented(401, 403, 404, 409, 422),
        )

    async def create_user(
        self, request: Request, response: Response, payload: CreateUser
    ) -> UserView:
        """Create a user, who is mailed a link: to set a password, or to confirm the address."""
        user = await self._users.create_user(
            payload, actor=self._gate.actor_of(request), db=unit_of(request)
        )
        response.headers["Location"] = f"{request.scope['path']}/{user.id}"
        return _shown(user, response)

    async def list_users(self, query: Annotated[ListQuery, Query()]) -> UserPage:
        """List users, a page at a time."""
        page = await self._users.list_users(
            query.wanted(), order=query.order, limit=query.limit, cursor=query.cursor
        )
        return UserPage(items=[UserView.of(user) for user in page], next_cursor=page.next_cursor)

    async def get_user(self, user_id: UserId, response: Response) -> UserView:
        """Show a user; the `ETag` is what `If-Match` takes."""
        return _shown(await self._users.get_user(user_id), response)

    async def update_user(
        self,
        user_id: UserId,
        payload: UpdateUser,
        request: Request,
        response: Response,
        if_match: Annotated[str | None, Header()] = None,
    ) -> UserView:
        """Change a user; with `If-Match` only the version that was read."""
        user = await self._users.update_user(
            user_id,
            payload,
            version=_version(if_match),
            actor=self._gate.actor_of(request),
            db=unit_of(request),
        )
        return _shown(user, response)

    async def delete_user(
        self, request: Request, user_id: UserId, erase: Erase | None = None
    ) -> None:
        """Have a user erased in 30 days, or at once; until then a link in a mail undoes it."""
        await self._users.delete_user(
            user_id,
            at_once=erase == "now",
            actor=self._gate.actor_of(request),
            db=unit_of(request),
        )


def _shown(user: Any, response: Response) -> UserView:
    response.headers["ETag"] = f'"{user.version}"'
    return UserView.of(user)


def _version(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        message = 'If-Match takes one ETag, such as "3".'
        raise InvalidError(Issue("If-Match", "etag_invalid", message))
    if found["weak"]:
        raise StaleVersionError  # weak tags never match here (RFC 9110, 13.1.1)
    return int(found["version"])
