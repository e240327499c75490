"""What the machines found, or a walk through them would have: each as one example."""

import contextlib
from collections.abc import Iterator

import pytest

from denizen.db.testing import Databases
from denizen.settings import Settings
from support import a_user
from world import Letter, World

PASSWORD = "a fine long passphrase 77"
OWNER, THIEF = "owner@example.com", "thief@example.net"


@pytest.fixture
def world(databases: Databases, settings: Settings) -> Iterator[World]:
    """Give a world with an admin and the owner of an account."""
    with contextlib.closing(World(databases, settings)) as found:
        admin = "admin@example.com"
        found.run(a_user(found.denizen, email=admin, password=PASSWORD, role="admin"))
        found.run(a_user(found.denizen, email=OWNER, password=PASSWORD))
        yield found


def _token(world: World, email: str, password: str = PASSWORD) -> str:
    answer = world.ask("POST", "/v1/sessions", {"email": email, "password": password})
    assert answer.status_code == 201
    token: str = answer.json()["token"]
    return token


def _link(world: World, to: str, purpose: str) -> Letter:
    (found,) = [one for one in world.deliver() if (one.to, one.purpose) == (to, purpose)]
    return found


def _follow(world: World, path: str, letter: Letter, **more: str) -> int:
    return world.ask("POST", f"/v1/{path}", {"token": letter.token, **more}).status_code


@pytest.mark.parametrize("change", [{"email_verified": False}, {"email": "new@example.com"}])
def test_admin_makes_an_address_unconfirmed_every_session_ends(
    world: World, change: dict[str, object]
) -> None:
    """Who could not sign in by now is not signed in either."""
    token = _token(world, OWNER)
    path = f"/v1/users/{world.ask('GET', '/v1/me', token=token).json()['id']}"

    world.ask("PATCH", path, change, token=_token(world, "admin@example.com"))

    assert world.ask("GET", "/v1/me", token=token).status_code == 401


def test_admin_confirms_what_is_confirmed_nothing_changes(world: World) -> None:
    """A version that moves without an event would tell of a change that nobody made."""
    admin = _token(world, "admin@example.com")
    user = world.ask("GET", "/v1/me", token=_token(world, OWNER)).json()
    path = f"/v1/users/{user['id']}"

    answers = [
        world.ask("PATCH", path, change, token=admin).json()
        for change in ({"email_verified": True}, {"email": OWNER, "email_verified": True})
    ]

    assert answers == [user, user]


def test_account_back_by_a_change_the_thief_has_no_way_back(world: World) -> None:
    """The links that undo lead down one stack: who is back at an address drops those above it.

    A thief who moved the account away and has it moved back, by the owner's own hand, would
    otherwise keep a link that outlives the owner's.
    """
    stolen = _token(world, OWNER)
    for old, new in ((OWNER, THIEF), (THIEF, OWNER)):
        body = {"email": new, "password": PASSWORD}
        assert world.ask("POST", "/v1/me/email", body, token=stolen).status_code == 202
        letters = {one.to: one for one in world.deliver()}
        assert _follow(world, "email-changes/confirm", letters[new]) == 204
        assert letters[old].purpose == "email-undo"

    assert _follow(world, "email-changes/undo", letters[THIEF]) == 400
    assert world.ask("GET", "/v1/me", token=stolen).json()["email"] == OWNER


def test_deletion_asked_for_again_the_earlier_link_undoes_nothing(world: World) -> None:
    """The link went to an address that the account may have left since."""
    stolen = _token(world, OWNER)
    body = {"email": THIEF, "password": PASSWORD}
    world.ask("POST", "/v1/me/email", body, token=stolen)
    letters = {one.to: one for one in world.deliver()}
    assert _follow(world, "email-changes/confirm", letters[THIEF]) == 204
    world.ask("POST", "/v1/me/deletion", {"password": PASSWORD}, token=stolen)
    undo = _link(world, THIEF, "deletion-undo")
    assert _follow(world, "email-changes/undo", letters[OWNER]) == 204
    mine = _token(world, OWNER)
    answer = world.ask("POST", "/v1/me/deletion", {"password": PASSWORD}, token=mine)
    assert answer.status_code == 202

    assert _follow(world, "deletions/undo", undo) == 400


def test_admin_erases_oneself_the_event_says_not_from_where(world: World) -> None:
    """The last event about somebody is written after the others are blanked."""
    world.run(a_user(world.denizen, email=THIEF, password=PASSWORD, role="admin"))
    admin = _token(world, "admin@example.com")
    user_id = world.ask("GET", "/v1/me", token=admin).json()["id"]
    path = f"/v1/users/{user_id}?erase=now"

    answer = world.ask("DELETE", path, token=admin, agent="canary")

    assert answer.status_code == 204
    assert "canary" not in world.dump()
    sql = "SELECT action, address FROM audit_events WHERE user_id::text = $1"
    assert ("user.erased", None) in world.rows(sql, user_id)
