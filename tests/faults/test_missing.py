"""F43: what limits, checks or records is gone: whatever needs it is refused, all else goes on."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.settings import Settings, SettingsError
from denizen.users.model import UserModel
from faults.report import Measured, publish
from support import PASSWORD, Api, a_user


@pytest.fixture
async def operator(databases: Databases) -> AsyncIterator[Any]:
    """Give a connection of somebody who breaks things."""
    async with superuser(databases.superuser_url) as connection:
        yield connection


async def test_f43_without_the_table_of_limits_nobody_may_try(
    anonymous: Api, admin: Api, denizen: Denizen[UserModel], operator: Any
) -> None:
    """Right or wrong: 503. Who is signed in stays so, and it heals when the table is back."""
    user = await a_user(denizen, password=PASSWORD)
    body = {"email": user.email, "password": PASSWORD}
    await operator.execute("ALTER TABLE throttles RENAME TO gone")
    for path, sent in (
        ("/v1/sessions", body),
        ("/v1/sessions", {**body, "password": "wrong"}),
        ("/v1/registrations", {"email": "new@example.com"}),
        ("/v1/password-resets", {"email": user.email}),
    ):
        answer = await anonymous.post(path, json=sent)
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), path
    assert await operator.fetchval("SELECT count(*) FROM outbox") == 0
    assert (await admin.get("/v1/me")).status_code == 200

    await operator.execute("ALTER TABLE gone RENAME TO throttles")
    assert (await anonymous.post("/v1/sessions", json=body)).status_code == 201
    _tell("the table of limits is gone")


async def test_f43_without_the_table_of_events_nothing_is_done(admin: Api, operator: Any) -> None:
    """What can't be recorded does not happen."""
    body = {"email": "new@example.com", "username": "new"}
    await operator.execute("ALTER TABLE audit_events RENAME TO gone")

    assert (await admin.post("/v1/users", json=body)).status_code == 503
    assert await operator.fetchval("SELECT count(*) FROM users WHERE username = 'new'") == 0
    await operator.execute("ALTER TABLE gone RENAME TO audit_events")
    assert (await admin.post("/v1/users", json=body)).status_code == 201
    _tell("the table of events is gone")


async def test_f43_without_the_blocklist_no_password_is_taken_and_no_service_starts(
    admin: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list without its files calls everything good: then nothing is, and the start says why."""
    monkeypatch.setattr("denizen.passwords.rules.is_bad_password", lambda _: False)
    body = {"email": "new@example.com", "username": "new", "password": PASSWORD}

    answer = await admin.post("/v1/users", json=body)

    assert answer.status_code == 422
    assert [one["code"] for one in answer.json()["errors"]] == ["password_blocklisted"]
    with pytest.raises(SettingsError, match="list of known passwords is gone"):
        Denizen(settings=settings)
    _tell("the list of known passwords is gone")


def _tell(fault: str) -> None:
    publish(Measured(row="F43", fault=fault, expected="what needs it is refused"))
