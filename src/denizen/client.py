"""A typed async client of the HTTP API, for services that let denizen keep their users.

```python
async with DenizenClient("https://id.example.org", token=api_key) as denizen:
    user = await denizen.create_user(CreateUser(email="ann@example.com", username="ann"))
    async for user in denizen.iter_users(role="admin"): ...
    found = await denizen.introspect(token_of_a_request)
```

What changes something is sent with an Idempotency-Key of its own wherever the service honours one,
so that it can be sent again when its answer is lost: it happens once.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
from pydantic import BaseModel

from denizen.account.schemas import ExportView, UpdateMe
from denizen.audit.schemas import EventPage
from denizen.errors import Issue
from denizen.sessions.schemas import IntrospectionView, SessionList, SessionView, SignedInView
from denizen.users.schemas import CreateUser, UpdateUser, UserPage, UserView
from denizen.users.values import Locale

M = TypeVar("M", bound=BaseModel)
TRIES: Final = 3
LONGEST_WAIT: Final = 5.0  # seconds; who is told to wait longer is told by the error


class ProblemError(Exception):
    """Raised for every answer that is an error.

    Attributes:
        status: of HTTP.
        code: the stable word.
        issues: the fields that it is about.
        retry_after: seconds to wait, where the service says so.
    """

    def __init__(self, answer: httpx.Response) -> None:
        told = _told(answer)
        super().__init__(f"{answer.status_code} {told.get('code', '')}: {told.get('detail', '')}")
        self.status = answer.status_code
        self.code = str(told.get("code", "unknown"))
        self.issues = tuple(Issue(**one) for one in told.get("errors", ()))
        after = answer.headers.get("retry-after", "")
        self.retry_after = float(after) if after.isdecimal() else None

    @property
    def is_passing(self) -> bool:
        """Whether the same request may do better in a moment."""
        return self.status in {502, 503, 504} or self.code == "idempotency_busy"


class DenizenClient:
    """Calls one service, as nobody, as a signed-in user or as another service.

    Args:
        base_url: where the service is, with its prefix where it is mounted in an app.
        token: of a session, or an API key; None for what anybody may ask.
        timeout: for each try.
        transport: of httpx, for tests and proxies.

    Raises:
        ProblemError: by every call, for an answer that is an error.
        httpx.TransportError: by every call, when the service is out of reach.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        timeout: timedelta = timedelta(seconds=15),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        seconds = timeout.total_seconds()
        self._http = httpx.AsyncClient(base_url=base_url, timeout=seconds, transport=transport)
        self._token = token

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, those of `signed_in_as` included."""
        await self._http.aclose()

    def signed_in_as(self, token: str) -> "DenizenClient":
        """Give a client of the same service, over the same connections, with another token."""
        other = object.__new__(DenizenClient)
        other._http, other._token = self._http, token
        return other

    # what anybody may ask

    async def register(self, email: str, *, locale: Locale | None = None) -> None:
        """Have a link mailed to an address; the answer never tells whether it is known."""
        body = {"email": email} | ({} if locale is None else {"locale": locale})
        await self._send("POST", "/v1/registrations", body)

    async def confirm_registration(self, token: str, username: str, password: str) -> UserView:
        """Make the account that a mailed token stands for."""
        body = {"token": token, "username": username, "password": password}
        return await self._get(UserView, "POST", "/v1/registrations/confirm", body)

    async def request_verification(self, email: str) -> None:
        """Have the link that confirms an address mailed again."""
        await self._send("POST", "/v1/email-verifications", {"email": email})

    async def confirm_verification(self, token: str) -> None:
        """Confirm an address."""
        await self._send("POST", "/v1/email-verifications/confirm", {"token": token})

    async def request_password_reset(self, email: str) -> None:
        """Have a link to set a new password mailed."""
        await self._send("POST", "/v1/password-resets", {"email": email})

    async def confirm_password_reset(self, token: str, password: str) -> None:
        """Set a password by a mailed token; every session ends."""
        body = {"token": token, "password": password}
        await self._send("POST", "/v1/password-resets/confirm", body)

    async def confirm_email_change(self, token: str) -> None:
        """Move an account to its new address."""
        await self._send("POST", "/v1/email-changes/confirm", {"token": token})

    async def undo_email_change(self, token: str) -> None:
        """Give an account its old address back."""
        await self._send("POST", "/v1/email-changes/undo", {"token": token})

    async def undo_deletion(self, token: str) -> None:
        """Keep an account that was to be erased."""
        await self._send("POST", "/v1/deletions/undo", {"token": token})

    async def sign_in(self, email: str, password: str) -> SignedInView:
        """Sign in; the token is shown this once."""
        body = {"email": email, "password": password}
        return await self._get(SignedInView, "POST", "/v1/sessions", body)

    # my account

    async def me(self) -> UserView:
        """Give who is signed in."""
        return await self._get(UserView, "GET", "/v1/me")

    async def update_me(self, changes: UpdateMe) -> UserView:
        """Change one's own username or language."""
        return await self._get(UserView, "PATCH", "/v1/me", changes.given())

    async def export_me(self) -> ExportView:
        """Give all that is held about who is signed in."""
        return await self._get(ExportView, "GET", "/v1/me/export")

    async def list_sessions(self) -> list[SessionView]:
        """Give the devices that are signed in."""
        return (await self._get(SessionList, "GET", "/v1/me/sessions")).items

    async def sign_out(self) -> None:
        """End this session."""
        await self._send("DELETE", "/v1/me/sessions/current")

    async def end_session(self, session_id: uuid.UUID) -> None:
        """End one of one's own sessions."""
        await self._send("DELETE", f"/v1/me/sessions/{session_id}")

    async def end_all_sessions(self) -> None:
        """Sign out everywhere."""
        await self._send("DELETE", "/v1/me/sessions")

    async def change_password(self, current: str, new: str) -> None:
        """Change one's own password; every other session ends."""
        body = {"current_password": current, "new_password": new}
        await self._send("PUT", "/v1/me/password", body)

    async def change_email(self, email: str, password: str) -> None:
        """Have a link mailed to the new address."""
        await self._send("POST", "/v1/me/email", {"email": email, "password": password})

    async def delete_me(self, password: str) -> None:
        """Be signed out everywhere, and erased after the grace period."""
        await self._send("POST", "/v1/me/deletion", {"password": password})

    # administration, by an admin or an API key

    async def create_user(self, new: CreateUser) -> UserView:
        """Create a user."""
        body = new.model_dump(include=new.model_fields_set)
        if new.password is not None:
            body["password"] = new.password.get_secret_value()
        return await self._get(UserView, "POST", "/v1/users", body)

    async def list_users(self, **query: str | float | bool) -> UserPage:
        """Give one page of users; `query` is that of the API."""
        return await self._get(UserPage, "GET", "/v1/users", query=query)

    async def iter_users(self, **query: str | float | bool) -> AsyncIterator[UserView]:
        """Walk all users that fit, page by page."""
        while True:
            page = await self.list_users(**query)
            for user in page.items:
                yield user
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    async def get_user(self, user_id: uuid.UUID) -> UserView:
        """Give a user."""
        return await self._get(UserView, "GET", f"/v1/users/{user_id}")

    async def update_user(
        self, user_id: uuid.UUID, changes: UpdateUser, *, version: int | None = None
    ) -> UserView:
        """Change a user; with `version` only while nobody else has."""
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        path = f"/v1/users/{user_id}"
        return await self._get(UserView, "PATCH", path, changes.given(), headers=headers)

    async def delete_user(self, user_id: uuid.UUID, *, erase_now: bool = False) -> None:
        """Have a user erased, after the grace period or at once."""
        query = {"erase": "now"} if erase_now else {}
        await self._send("DELETE", f"/v1/users/{user_id}", query=query)

    async def list_audit_events(self, **query: str | float | bool) -> EventPage:
        """Give one page of the audit log, the newest first; `query` is that of the API."""
        return await self._get(EventPage, "GET", "/v1/audit-events", query=query)

    async def introspect(self, token: str) -> IntrospectionView:
        """Tell whether a token that somebody showed is live, and whose it is."""
        return await self._get(IntrospectionView, "POST", "/v1/introspections", {"token": token})

    async def _get(self, model: type[M], method: str, path: str, *body: Any, **more: Any) -> M:
        answer = await self._send(method, path, *body, **more)
        return model.model_validate_json(answer.content)

    async def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        sent = dict(headers or {})
        if self._token is not None:
            sent |= {"Authorization": f"Bearer {self._token}", "Idempotency-Key": uuid.uuid4().hex}
        request = self._http.build_request(method, path, json=body, params=query, headers=sent)
        is_repeatable = method == "GET" or self._token is not None
        for left in reversed(range(TRIES if is_repeatable else 1)):
            try:
                answer = await self._http.send(request)
            except httpx.TransportError:
                if not left:
                    raise
                await asyncio.sleep(0.1)
                continue
            if answer.is_success:
                return answer
            problem = ProblemError(answer)
            wait = problem.retry_after or 0.1
            if not (left and problem.is_passing and wait <= LONGEST_WAIT):
                raise problem
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")


def _told(answer: httpx.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except ValueError:  # something in between answered
        return {}
    return told if isinstance(told, dict) else {}
