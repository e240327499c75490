"""Changing a user: fields, what follows from them, undo, and two admins at the same time."""

import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.settings import Settings
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from support import PASSWORD, a_user
from webforms import Browser, mails_in

Service = Denizen[UserModel]


@pytest.fixture
def path(ann: UserModel) -> str:
    """Give the address of the form."""
    return f"/console/users/{ann.id}/change"


async def test_changes_are_saved_and_undone(
    console: Browser, denizen: Service, ann: UserModel, path: str
) -> None:
    """Name, role and language, told in the audit as far as they differ; back by one button."""
    page = await console.fill(path, username="anna", role="support", locale="ru")
    changed = await denizen.users.get_user(ann.id)
    assert page.said == "The changes are saved."
    assert (changed.username, changed.role, changed.locale) == ("anna", "support", "ru")
    (event,) = await denizen.audit.list_events(user_id=ann.id, action="user.updated")
    assert event.after == {"username": "anna", "role": "support", "locale": "ru"}
    undone = await console.send(page.forms[path])
    back = await denizen.users.get_user(ann.id)

    assert undone.said == "The changes are saved."
    assert (back.username, back.role, back.locale) == ("ann", "user", "en")
    assert back.email_verified_at == ann.email_verified_at


async def test_undo_that_comes_too_late_is_a_conflict(
    console: Browser, denizen: Service, ann: UserModel, path: str
) -> None:
    """What was changed since is not written over."""
    page = await console.fill(path, username="anna")
    await denizen.users.update_user(ann.id, UpdateUser(username="anka"))
    late = await console.send(page.forms[path])

    assert (late.status, late.heading) == (412, "Two changes meet")
    assert (await denizen.users.get_user(ann.id)).username == "anka"


async def test_nothing_changed_is_no_change(
    console: Browser, denizen: Service, ann: UserModel, path: str
) -> None:
    """No event, no version, no undo."""
    page = await console.fill(path)

    assert page.said == "Nothing was changed."
    assert path not in page.forms
    assert (await denizen.users.get_user(ann.id)).version == ann.version


async def test_new_address_is_confirmed_by_mail_and_not_undone_by_a_click(
    console: Browser, denizen: Service, ann: UserModel, path: str, settings: Settings
) -> None:
    """The link goes to the new mailbox, a notice to the old; whoever knows it is theirs says so."""
    page = await console.fill(path, email="anna@example.com")
    await denizen.mail.send_due()
    assert path not in page.forms
    assert "the address is not confirmed" in page.text
    told = {str(mail["to"]): str(mail["subject"]) for mail in mails_in(settings.mail_folder)}
    assert told == {
        "ann@example.com": "Your e-mail address was changed",
        "anna@example.com": told["anna@example.com"],
    }
    both = await console.fill(path, email="annie@example.com", email_verified="yes")
    changed = await denizen.users.get_user(ann.id)

    assert both.said == "The changes are saved."
    assert (changed.email, changed.email_verified) == ("annie@example.com", True)


async def test_wrong_values_stand_at_their_fields(
    console: Browser, denizen: Service, ann: UserModel, path: str
) -> None:
    """Both taken names at once; the version that was read stays in the form."""
    await a_user(denizen, email="bob@example.com", username="bob")
    form = (await console.open(path)).forms[path]
    taken = await console.send(form, email="BOB@example.com", username="Bob", role="support")
    wrong = await console.send(form, role="god", email_verified="maybe", username=" ")

    assert (taken.status, wrong.status) == (409, 422)
    for issue in ("email-issue", "username-issue"):
        assert f'id="{issue}"' in taken.text
    for issue in ("role-issue", "email_verified-issue", "username-issue"):
        assert f'id="{issue}"' in wrong.text
    kept = taken.forms[path].fields
    assert {n: kept[n] for n in form.fields if n.startswith(("was_", "version"))} == {
        n: v for n, v in form.fields.items() if n.startswith(("was_", "version"))
    }
    assert (kept["role"], kept["username"]) == ("support", "Bob")
    done = await console.send(taken.forms[path], email=ann.email, username="ann")
    assert done.said == "The changes are saved."


async def test_two_changes_meet_and_nothing_is_typed_again(
    console: Browser, app: FastAPI, denizen: Service, ann: UserModel, path: str
) -> None:
    """Who changed what; theirs and mine where both did; mine is saved by one button.

    What only the other has changed stays theirs.
    """
    other = await a_user(denizen, username="olga", password=PASSWORD, role="admin")
    form = (await console.open(path)).forms[path]
    second = Browser.of(app)
    await second.sign_in(other.email, PASSWORD)
    await second.fill(path, username="theirs", locale="ru")
    await second.client.aclose()
    meeting = await console.send(form, username="mine", role="support")

    assert (meeting.status, meeting.heading) == (412, "Two changes meet")
    assert "Nothing was saved" in meeting.alert
    for said in ("by olga", "Username: ann → theirs", "Language: English → Русский"):
        assert said in meeting.text
    assert '<td role="cell" data-label="As it is now">theirs</td>' in meeting.text
    assert '<td role="cell" data-label="As you have it"><b>mine</b></td>' in meeting.text
    assert "<b>Support</b>" in meeting.text
    assert "<b>English</b>" not in meeting.text
    done = await console.send(meeting.forms[path])
    changed = await denizen.users.get_user(ann.id)

    assert done.said == "The changes are saved."
    assert (changed.username, changed.role, changed.locale) == ("mine", "support", "ru")


async def test_same_change_twice_leaves_nothing_to_save(
    console: Browser, denizen: Service, ann: UserModel, path: str
) -> None:
    """They did what one was going to do: no button, the way back."""
    form = (await console.open(path)).forms[path]
    await denizen.users.update_user(ann.id, UpdateUser(username="same"))
    page = await console.send(form, username="same")

    assert page.status == 412
    assert path not in page.forms
    assert "nothing is left to save" in page.text


@pytest.mark.parametrize("version", ["", "0", "-1", "1e3", "99999999999", "x", "²"])
@pytest.mark.parametrize("since", ["", "x", "2026-01-01", "9999-12-31T23:59:59+00:00"])
async def test_form_without_a_version_is_a_conflict(
    console: Browser, denizen: Service, ann: UserModel, path: str, *, version: str, since: str
) -> None:
    """Nobody writes over what they haven't read, whatever the form says."""
    page = await console.fill(path, username="other", version=version, since=since)

    assert (page.status, page.heading) == (412, "Two changes meet")
    assert (await denizen.users.get_user(ann.id)).username == "ann"
