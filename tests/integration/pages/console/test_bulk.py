"""Acts on many users: whom they reach, what is skipped, batches, and what stays when it breaks."""

from typing import Any

import pytest

from denizen.app import Denizen
from denizen.audit.model import Actor
from denizen.db.errors import UnavailableError
from denizen.errors import InvalidError
from denizen.selections.rules import ACTS, Act, Selection
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter
from denizen.users.schemas import UpdateUser
from denizen.users.status import Status, status_of
from support import StatementCounter, a_user
from webforms import Browser

Service = Denizen[UserModel]
USERS = "/console/users"
BULK = f"{USERS}/bulk"


async def people(denizen: Service, count: int) -> list[UserModel]:
    """Put some users into the database."""
    async with denizen.db.get_session() as db:
        return [
            await UserModel.create(
                db, email=f"p{n:04}@example.com", username=f"p{n:04}", hashed_password="x"
            )
            for n in range(count)
        ]


async def statuses(denizen: Service) -> dict[str, Status]:
    """Give everybody's status by their names."""
    page = await denizen.users.list_users(UserFilter(also_leaving=True), limit=1000)
    return {user.username: status_of(user) for user in page}


@pytest.mark.parametrize(
    ("act", "said", "after"),
    [
        ("disable", "2 accounts are disabled.", "disabled"),
        ("delete", "2 accounts will be erased.", "leaving"),
        ("end_sessions", "2 accounts are signed out everywhere.", "unconfirmed"),
    ],
)
async def test_ticked_users_are_met_after_a_page_that_counts(
    console: Browser, denizen: Service, root: UserModel, *, act: str, said: str, after: str
) -> None:
    """Who is reached, how many sessions end, oneself is skipped; back to the same list."""
    ann, bob, eve = await people(denizen, 3)
    tick = (await console.open(f"{USERS}?order=email")).forms[BULK]
    asked = await console.send(tick, act=act, id=[str(ann.id), str(bob.id), str(root.id)])

    assert asked.status == 200
    assert "2 accounts" in asked.heading
    for name in (ann.email, bob.email, "yourself: 1", "None of them is signed in anywhere."):
        assert name in asked.text
    assert eve.email not in asked.text
    done = await console.send(asked.forms[BULK], reason="spam")
    assert done.said == f"{said} Skipped (yourself: 1)."
    assert done.path == f"{USERS}?order=email"
    found = await statuses(denizen)
    assert [found[user.username] for user in (ann, bob, eve)] == [after, after, "unconfirmed"]
    (event, *_) = await denizen.audit.list_events(user_id=ann.id)
    assert (event.actor_id, event.after["reason"]) == (root.id, "spam")


async def test_enabling_skips_whoever_is_so_already(console: Browser, denizen: Service) -> None:
    """And whoever waits to be erased."""
    ann, bob, eve = await people(denizen, 3)
    await denizen.users.update_user(ann.id, UpdateUser(is_active=False))
    await denizen.users.delete_user(eve.id)
    asked = await console.open(
        f"{BULK}?act=enable&" + "&".join(f"id={u.id}" for u in (ann, bob, eve))
    )
    done = await console.send(asked.forms[BULK])

    assert "is so already: 1" in asked.text
    assert "waits to be erased: 1" in asked.text
    assert done.said.startswith("1 account is enabled. Skipped (")
    assert (await statuses(denizen))[ann.username] == "unconfirmed"


@pytest.mark.parametrize("act", ACTS)
async def test_oneself_is_never_met(console: Browser, root: UserModel, act: Act) -> None:
    """Alone in the selection there is nothing to do, and no button."""
    page = await console.open(f"{BULK}?act={act}&id={root.id}")

    assert page.heading == "Nothing to do"
    assert BULK not in page.forms


async def test_all_that_match_are_those_of_the_moment(console: Browser, denizen: Service) -> None:
    """Over all pages, by the filter; who comes after the question is not met."""
    await people(denizen, 70)
    other = await a_user(denizen, email="other@example.org")
    tick = (await console.open(f"{USERS}?q=p00")).forms[BULK]
    asked = await console.send(tick, act="disable", all="yes")
    assert asked.heading == "Disable 70 accounts"
    assert "and 60 more" in asked.text
    late = await a_user(denizen, username="p00late")
    done = await console.send(asked.forms[BULK])

    assert done.said == "70 accounts are disabled."
    assert done.path == f"{USERS}?q=p00"
    found = await statuses(denizen)
    assert sum(status == "disabled" for status in found.values()) == 70
    assert {found[other.username], found[late.username]} == {"invited"}


@pytest.mark.parametrize("how", ["all", "ids"])
async def test_others_than_were_shown_are_asked_about_again(
    console: Browser, denizen: Service, how: str
) -> None:
    """Somebody else was faster: 422, the new number, nothing done; then it is done."""
    ann, bob = await people(denizen, 2)
    query = "all=yes&q=p00" if how == "all" else f"id={ann.id}&id={bob.id}"
    asked = await console.open(f"{BULK}?act=disable&{query}")
    await denizen.users.update_user(ann.id, UpdateUser(is_active=False))
    again = await console.send(asked.forms[BULK])
    assert (again.status, again.heading) == (422, "Disable 1 account")
    assert "Others are selected by now" in again.alert
    assert (await statuses(denizen))[bob.username] == "unconfirmed"
    done = await console.send(again.forms[BULK])

    assert done.said == "1 account is disabled. Skipped (is so already: 1)."


async def test_as_many_others_are_not_those_who_were_shown(
    console: Browser, denizen: Service
) -> None:
    """Somebody slips out of the filter and another in: the count is the same, nobody is met."""
    ann, _ = await people(denizen, 2)
    other = await a_user(denizen, email="other@example.com", username="other")
    asked = await console.open(f"{BULK}?act=disable&all=yes&q=p00")
    await denizen.users.update_user(
        ann.id, UpdateUser(email="slipped@example.com", username="slipped")
    )
    await denizen.users.update_user(other.id, UpdateUser(username="p00-other"))
    done = await console.send(asked.forms[BULK])

    assert done.status == 422
    assert "Others are selected by now" in done.alert
    assert "disabled" not in set((await statuses(denizen)).values())


async def test_too_many_are_told_how_to_become_fewer(
    console: Browser, denizen: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit there is no button; and no form made up gets by."""
    await people(denizen, 6)
    monkeypatch.setattr("denizen.selections.scenarios.AT_ONCE", 5)
    page = await console.open(f"{BULK}?act=delete&all=yes&q=p00")
    everybody = Selection(UserFilter(search="p00"))

    assert page.heading == "Too many at once"
    assert "Narrow the list down" in page.text
    assert BULK not in page.forms
    with pytest.raises(InvalidError):
        preview = await denizen.selections.look(everybody, "delete")
        await denizen.selections.apply(everybody, "delete", expected=preview.mark)
    assert set((await statuses(denizen)).values()) == {"active", "unconfirmed"}


@pytest.mark.parametrize(
    "query", ["", "act=disable", "act=nonsense&all=yes", "act=disable&id=x", "id=x&q=ann"]
)
async def test_nobody_selected_leads_back_to_the_list(console: Browser, query: str) -> None:
    """With a word about it, and the filters as they were."""
    page = await console.open(f"{BULK}?{query}")

    assert page.heading == "Users"
    assert page.said.startswith("Nobody is selected.")
    assert page.path == (f"{USERS}?q=ann" if "q=ann" in query else USERS)


@pytest.mark.parametrize("field", ["expected", "act", "id", "before"])
async def test_form_that_is_made_up_does_nothing(
    console: Browser, denizen: Service, field: str
) -> None:
    """Numbers that are none, acts that are none, moments without a zone."""
    (ann,) = await people(denizen, 1)
    asked = await console.open(f"{BULK}?act=disable&all=yes&q=p00")
    for value in ("", "x", "-1", "9" * 30, "²", "2020-01-01"):
        page = await console.send(asked.forms[BULK], **{field: value})
        assert page.status in {200, 422}
    if field in {"expected", "act"}:
        assert (await statuses(denizen))[ann.username] == "unconfirmed"


async def test_batches_stand_when_the_database_goes_away(
    console: Browser, denizen: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done is told, and sent again the rest is done; before the first nothing is told."""
    await people(denizen, 5)
    monkeypatch.setattr("denizen.selections.scenarios.BATCH", 2)
    batch = type(denizen.selections)._batch
    calls = 0

    async def break_down(*told: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in {1, 4}:
            raise UnavailableError
        return await batch(denizen.selections, *told)

    monkeypatch.setattr(denizen.selections, "_batch", break_down)
    everybody = f"{BULK}?act=disable&all=yes&q=p00"
    away = await console.send((await console.open(everybody)).forms[BULK])
    assert away.status == 503
    first = await console.send((await console.open(everybody)).forms[BULK])
    assert (
        first.said
        == "4 accounts are disabled. Then the database went away. Do it again for the rest."
    )
    again = await console.send((await console.open(everybody)).forms[BULK])

    assert again.said == "1 account is disabled. Skipped (is so already: 4)."


async def test_last_admin_is_skipped_by_whoever_acts(denizen: Service, root: UserModel) -> None:
    """An operator, too, leaves one: whichever comes last."""
    other = await a_user(denizen, role="admin")
    both = Selection([root.id, other.id])
    mark = (await denizen.selections.look(both, "disable")).mark
    report = await denizen.selections.apply(both, "disable", expected=mark)
    again = await denizen.selections.apply(both, "delete", expected=mark)

    assert (report.done, report.skipped) == (1, {"last_admin": 1})
    assert (again.done, again.skipped) == (1, {"last_admin": 1})
    found = await statuses(denizen)
    assert sorted([found[root.username], found[other.username]]) == ["invited", "leaving"] or (
        sorted([found[root.username], found[other.username]]) == ["active", "leaving"]
    )


async def test_form_that_comes_twice_acts_once(console: Browser, denizen: Service) -> None:
    """Both answers tell the same."""
    (ann,) = await people(denizen, 1)
    form = (await console.open(f"{BULK}?act=disable&id={ann.id}")).forms[BULK]
    told = [(await console.send(form)).said for _ in range(2)]

    assert told == ["1 account is disabled."] * 2
    assert len(await denizen.audit.list_events(user_id=ann.id)) == 1


async def test_looking_costs_the_same_for_one_and_for_many(
    denizen: Service, statements: StatementCounter
) -> None:
    """The moment, the users, their sessions: three statements, and nothing changes."""
    users = await people(denizen, 60)
    actor = Actor("user", users[0].id)
    told = []
    for some in (users[:2], users):
        async with statements.listening() as heard:
            preview = await denizen.selections.look(
                Selection([user.id for user in some]), "delete", actor=actor
            )
        told.append(len(heard))
        assert len(preview.chosen) == len(some) - 1

    assert told == [3, 3]
