"""The console's audit log: filters in the address, words for what happened, pages by keyset."""

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from denizen.app import Denizen
from denizen.audit.model import NOBODY, OPERATOR, Actor
from denizen.audit.queries import record
from denizen.clock import first_id
from denizen.db.testing import Databases, superuser
from denizen.pages.console.audit import AUDIT, PAGE
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from support import StatementCounter, a_user
from webforms import Browser
from xss import EVIL, is_inert


async def _record(
    denizen: Denizen[UserModel],
    action: str,
    *,
    actor: Actor = OPERATOR,
    user_id: uuid.UUID = NOBODY,
    after: Mapping[str, Any] | None = None,
) -> None:
    async with denizen.db.get_session() as db:
        audit = denizen.parts.tables.audit
        await record(db, audit, action, actor, user_id, after=after)


async def test_event_is_told_in_words(console: Browser, denizen: Denizen[UserModel]) -> None:
    """What, whom, by whom, from where; the fields before and after, and no raw key of a message."""
    ann = await a_user(denizen, username="ann")
    root = await denizen.users.find_user("root")
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    actor = Actor("user", root.id, "192.0.2.7", agent)
    await denizen.users.update_user(ann.id, UpdateUser(role="support"), actor=actor)
    page = await console.open(AUDIT)

    assert "<b>Change of the account</b>" in page.text
    assert f'<a href="/console/users/{ann.id}">ann</a>' in page.text
    assert f'by <a href="/console/users/{root.id}">root</a>' in page.text
    assert "Firefox, Linux" in page.text
    assert "192.0.2.7" in page.text
    cells = re.findall(r"<th scope=\"row\">Role</th>\s*<td>(\w+)</td>\s*<td>(\w+)</td>", page.text)
    assert cells == [("User", "Support")]
    assert ">user.updated<" not in page.text


async def test_filters_stand_in_the_address(console: Browser, denizen: Denizen[UserModel]) -> None:
    """By id, e-mail or username; by event; both; and the link that clears them."""
    ann = await a_user(denizen, email="ann@example.com", username="ann")
    for user_id in (ann.id, NOBODY):
        await _record(denizen, "session.refused", user_id=user_id)
    await _record(denizen, "email.verified", user_id=ann.id)
    for asked in (str(ann.id), "ann@example.com", "ANN"):
        page = await console.open(f"{AUDIT}?user_id={quote(asked)}")
        assert page.text.count("<b>") == 2, asked
        assert f'value="{asked}"' in page.text
    both = await console.open(f"{AUDIT}?user_id=ann&action=session.refused")
    refused = await console.open(f"{AUDIT}?action=session.refused")

    assert (both.text.count("<b>"), refused.text.count("<b>")) == (1, 2)
    assert '<option value="session.refused" selected>Failed sign-in</option>' in both.text
    assert f'<a href="{AUDIT}">Clear the filters</a>' in both.text


@pytest.mark.parametrize(
    "query", ["user_id=nobody", f"user_id={uuid.UUID(int=7)}", "action=user.flown", "to=1999-12-31"]
)
async def test_nothing_found_is_said(console: Browser, query: str) -> None:
    """The filters are repeated and can be cleared; an unknown person is no error."""
    page = await console.open(f"{AUDIT}?{query}")

    assert page.status == 200
    assert "No event matches these filters." in page.text
    assert "Clear the filters" in page.text
    assert ("kept for 400 days" in page.text) is query.startswith("to=")


async def test_days_are_those_of_the_browser(
    console: Browser, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """A day from its midnight to the next, in the zone of the cookie, by the order of ids."""
    at = datetime(2026, 11, 3, 20, 30, tzinfo=UTC)
    async with superuser(databases.superuser_url) as connection:
        for hours in (0, 24):
            moment = at + timedelta(hours=hours)
            await connection.execute(
                "INSERT INTO audit_events (user_id, id, at, action, actor_kind, before, after)"
                " VALUES ($1, $2, $3, 'user.created', 'operator', '{}', '{}')",
                NOBODY,
                first_id(moment),
                moment,
            )
    day = f"{AUDIT}?action=user.created&from=2026-11-03&to=2026-11-03"
    here = await console.open(day)
    console.client.cookies.set("__Host-zone", "Asia/Tokyo", domain="denizen.test")
    there = await console.open(day)
    next_day = await console.open(day.replace("-03", "-04"))

    assert here.text.count("<b>") == 1
    assert "3 Nov 2026, 20:30 UTC" in here.text
    assert there.text.count("<b>") == 0
    assert next_day.text.count("<b>") == 1
    assert "4 Nov 2026, 05:30" in next_day.text


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "1969-12-31", "nonsense", "2026-13-1"])
async def test_odd_days_are_no_error(console: Browser, day: str) -> None:
    """Whatever stands in the address."""
    page = await console.open(f"{AUDIT}?from={day}&to={day}")

    assert page.status == 200


async def test_pages_keep_the_filters(console: Browser, denizen: Denizen[UserModel]) -> None:
    """Older leads on and Newest back; a cursor of other filters leads to the newest, too."""
    ann = await a_user(denizen, username="ann")
    for _ in range(PAGE + 1):
        await _record(denizen, "session.refused", user_id=ann.id)
    first = await console.open(f"{AUDIT}?user_id=ann&action=session.refused")
    links = [
        told["href"] or "" for tag, told in first.tags if tag == "a" and "cursor=" in str(told)
    ]
    (older,) = links
    second = await console.open(older)
    mixed = await console.open(older.replace("user_id=ann&", ""))

    assert first.text.count("<b>") == PAGE
    assert second.text.count("<b>") == 1
    assert f'href="{AUDIT}?user_id=ann&amp;action=session.refused">Newest' in second.text
    assert mixed.path == f"{AUDIT}?action=session.refused"


async def test_who_is_gone_is_named_as_gone(console: Browser, denizen: Denizen[UserModel]) -> None:
    """An erased user by the id alone; a key by its name; the operator; a stranger."""
    gone = uuid.uuid4()
    _, key = await denizen.keys.create_key("billing", ["users:write"])
    await _record(denizen, "user.erased", user_id=gone)
    await _record(denizen, "user.updated", actor=Actor("key", key.id), user_id=gone)
    await _record(denizen, "session.refused", actor=Actor("anonymous"))
    page = await console.open(AUDIT)

    assert f'href="{AUDIT}?user_id={gone}">{gone}</a>' in page.text
    assert "somebody who was erased" in page.text
    assert "by the key “billing”" in page.text
    assert "by the operator" in page.text
    assert "by somebody who was not signed in" in page.text


async def test_texts_in_events_are_text(console: Browser, denizen: Denizen[UserModel]) -> None:
    """T-XSS-1: agents, addresses, values, fields and actions, names of keys, what is asked for."""
    _, key = await denizen.keys.create_key(EVIL[:80], ["users:write"])
    actor = Actor("key", key.id, EVIL[:45], f"{EVIL} Firefox/1")
    await _record(denizen, EVIL[:64], actor=actor, after={EVIL: EVIL, "scopes": [EVIL, {EVIL: 1}]})
    page = await console.open(AUDIT)
    asked = quote(EVIL)
    reflected = await console.open(
        f"{AUDIT}?user_id={asked}&action={asked}&from={asked}&to={asked}"
    )

    for one in (page, reflected):
        assert one.status == 200
        assert is_inert(one.text)


async def test_audit_log_is_for_admins(helper: Browser) -> None:
    """Support gets a page that says so, with the way to the account."""
    page = await helper.open(AUDIT)

    assert page.status == 403
    assert 'href="/account"' in page.text


async def test_audit_log_takes_two_statements(
    console: Browser, denizen: Denizen[UserModel], statements: StatementCounter
) -> None:
    """The events and all names at once, beside who is behind the cookie."""
    for number in range(5):
        user = await a_user(denizen)
        await _record(denizen, "user.updated", user_id=user.id, after={"role": str(number)})
    async with statements.listening() as heard:
        await console.open(AUDIT)

    assert len(heard) == 3, heard
