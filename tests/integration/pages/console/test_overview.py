"""The console's first page: what needs attention, counts, days; bounded however much there is."""

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from denizen.app import Denizen
from denizen.audit.model import NOBODY
from denizen.audit.queries import count_by_day
from denizen.clock import first_id
from denizen.db.testing import Databases, superuser
from denizen.mail.queries import count_mails_by_day
from denizen.overview import queries
from denizen.overview.scenarios import MANY_FAILURES, Day, Overview
from denizen.pages.console import CONSOLE, overview
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from support import PASSWORD, StatementCounter, a_user
from webforms import Browser, Page
from xss import EVIL, is_inert

MIDNIGHTS = [datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=n) for n in range(14)]


def _now() -> datetime:
    return datetime.now(UTC)


async def _events(
    databases: Databases, action: str, at: datetime, number: int, **more: str
) -> None:
    """Put events into the log as they would be at that moment."""
    agent = more.get("user_agent", "")
    rows = [
        (
            NOBODY,
            uuid.UUID(int=first_id(at).int + uuid.uuid4().int % 2**60),
            at,
            action,
            "anonymous",
            agent,
        )
        for _ in range(number)
    ]
    async with superuser(databases.superuser_url) as connection:
        await connection.executemany(
            "INSERT INTO audit_events (user_id, id, at, action, actor_kind, user_agent, before,"
            " after) VALUES ($1, $2, $3, $4, $5, $6, '{}', '{}')",
            rows,
        )


async def _mails(
    databases: Databases, at: datetime, number: int, *, kind: str = "sent", error: str = "no"
) -> None:
    """Put mails into the outbox that were asked for at that moment."""
    sent = at if kind == "sent" else None
    row = (at, sent, at if kind == "waiting" else None, error if kind == "failed" else None)
    async with superuser(databases.superuser_url) as connection:
        for _ in range(number):
            await connection.execute(
                "INSERT INTO outbox (id, kind, locale, facts, created_at, sent_at, next_try_at,"
                " error) VALUES ($1, 'invitation', 'en', '{}', $2, $3, $4, $5)",
                uuid.uuid4(),
                *row,
            )


def _tiles(page: Page) -> Mapping[str, str]:
    found = re.findall(r'href="([^"]+)"><b>([^<]+)</b> <span>', page.text)
    return {path: number.strip() for path, number in found}


async def test_first_steps_are_shown_to_the_first_admin(
    console: Browser, denizen: Denizen[UserModel]
) -> None:
    """What is left to do, what is done; gone once there is somebody else."""
    fresh = await console.open(CONSOLE)
    await denizen.keys.create_key("billing", ["users:read"])
    second = await console.open(CONSOLE)
    await a_user(denizen)
    later = await console.open(CONSOLE)

    assert "First steps" in fresh.text
    assert fresh.text.count(">Done<") == 0
    assert second.text.count(">Done<") == 1
    assert "Needs attention" not in fresh.text
    assert "First steps" not in later.text
    assert "no mail server is set" in later.text
    for path in ("/console/users/new", "/console/imports/new", "/console/keys/new"):
        assert f'href="{path}"' in fresh.text


async def test_counts_lead_to_lists(console: Browser, denizen: Denizen[UserModel]) -> None:
    """Each number with the list that has so many."""
    await a_user(denizen, verified=False, password=PASSWORD)
    disabled = await a_user(denizen)
    await denizen.users.update_user(disabled.id, UpdateUser(is_active=False))
    leaving = await a_user(denizen)
    await denizen.users.delete_user(leaving.id)
    page = await console.open(CONSOLE)

    assert _tiles(page) == {
        "/console/users": "4",
        "/console/users?role=admin": "1",
        "/console/users?status=unconfirmed": "1",
        "/console/users?status=disabled": "1",
        "/console/users?status=leaving": "1",
    }


async def test_many_users_are_counted_about(
    console: Browser, denizen: Denizen[UserModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit all of them by the database's own estimate, of the others that it is more."""
    for _ in range(3):
        user = await a_user(denizen, verified=False, password=PASSWORD)
        await denizen.users.update_user(user.id, UpdateUser(is_active=False))
    monkeypatch.setattr(queries, "COUNTED", 2)
    monkeypatch.setattr(overview, "COUNTED", 2)
    tiles = _tiles(await console.open(CONSOLE))

    assert tiles["/console/users"].startswith("about ")
    assert tiles["/console/users?status=disabled"] == "over 2"
    assert "/console/users?status=unconfirmed" not in tiles
    assert tiles["/console/users?role=admin"] == "1"


async def test_days_are_told_in_charts_and_tables(console: Browser, databases: Databases) -> None:
    """A bar a day named by a sentence, the same numbers as a table; no style in it."""
    yesterday = _now() - timedelta(days=1)
    await _events(databases, "session.refused", yesterday, 3)
    await _events(databases, "user.registered", yesterday, 2)
    await _mails(databases, yesterday, 4)
    await _mails(databases, yesterday, 1, kind="failed")
    page = await console.open(CONSOLE)
    labels = [told["aria-label"] for tag, told in page.tags if tag == "svg" and "role" in told]

    assert labels == [
        "Sign-ups: 2 in 14 days, 0 today.",
        "Signed in: 1 in 14 days, 1 today. Refused: 3 in 14 days, 0 today.",
        "Sent: 4 in 14 days, 0 today. Given up: 1 in 14 days, 0 today.",
    ]
    assert len([1 for tag, told in page.tags if tag == "rect" and told["class"] == "one"]) == 42
    assert "style=" not in page.text
    number = r'<td class="number">(\d)</td>'
    row = rf'<th scope="row">{yesterday.day} \w+</th>{number}{number}'
    assert re.findall(row, page.text) == [("0", "3"), ("4", "1")]


async def test_what_needs_attention_is_said_with_the_way_to_it(
    console: Browser, helper: Browser, databases: Databases
) -> None:
    """Mails given up, mails that don't leave, failures; support is told without the links."""
    await _mails(databases, _now() - timedelta(days=2), 2, kind="failed")
    await _mails(databases, _now() - timedelta(hours=2), 1, kind="waiting")
    await _events(databases, "session.refused", _now(), MANY_FAILURES)
    admin, support = await console.open(CONSOLE), await helper.open(CONSOLE)

    for page in (admin, support):
        assert "2 mails were given up." in page.text
        assert "the first that waits is from 2 hours ago" in page.text
        assert "Far more sign-ins failed today" in page.text
    assert 'href="/console/system#outbox"' in admin.text
    assert 'href="/console/audit?action=session.refused"' in admin.text
    assert "/console/system" not in support.text
    assert "Latest events" not in support.text


@pytest.mark.parametrize(
    ("before", "today", "is_many"),
    [(0, MANY_FAILURES - 1, False), (0, MANY_FAILURES, True), (20, 60, False), (20, 61, True)],
)
def test_failures_are_many_against_other_days(before: int, today: int, *, is_many: bool) -> None:
    """Not by their number alone: a large service has many every day."""
    days = [Day(MIDNIGHTS[0], 0, 0, number, 0, 0) for number in [before] * 13 + [today]]
    days.insert(0, Day(MIDNIGHTS[0], None, None, None, None, None))

    assert _overview(days).has_many_failures is is_many


def _overview(days: Sequence[Day]) -> Overview:
    nothing: Any = None
    return Overview(nothing, days, nothing, nothing)


async def test_too_many_to_count_are_counted_as_far_as_time_allows(
    denizen: Denizen[UserModel], databases: Databases
) -> None:
    """The latest of them; and it is told from when on."""
    tables = denizen.parts.tables
    for day in range(3):
        at = MIDNIGHTS[day] + timedelta(hours=1)
        await _events(databases, "session.started", at, 4)
        await _mails(databases, at, 4)
    async with denizen.db.get_session(read_only=True) as db:
        every = await count_by_day(db, tables.audit, MIDNIGHTS, most=13)
        some = await count_by_day(db, tables.audit, MIDNIGHTS, most=6)
        mails = await count_mails_by_day(db, tables.outbox, MIDNIGHTS, most=6)

    assert (every.is_cut, every.since) == (False, MIDNIGHTS[0])
    assert [every.of(day, ["session.started"]) for day in range(4)] == [4, 4, 4, 0]
    assert (some.is_cut, some.since) == (True, MIDNIGHTS[1] + timedelta(hours=1))
    assert some.counts == {(2, "session.started"): 4, (1, "session.started"): 2}
    assert (mails.is_cut, mails.sent) == (True, {2: 4, 1: 2})


async def test_days_that_were_not_counted_are_not_called_empty(
    console: Browser, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dash in the table, and the moment from which on all were counted."""
    await _events(databases, "session.refused", _now() - timedelta(days=3), 5)
    real = count_by_day

    async def few(*given: Any) -> Any:
        return await real(*given, most=3)

    monkeypatch.setattr("denizen.overview.scenarios.count_by_day", few)
    page = await console.open(CONSOLE)

    assert "There are too many events to count them all" in page.text
    assert '<td class="number">—</td>' in page.text
    assert 'class="unknown"' in page.text


async def test_texts_on_the_overview_are_text(console: Browser, databases: Databases) -> None:
    """T-XSS-1: actions and agents of events, names of keys."""
    await _events(databases, EVIL[:64], _now(), 1, user_agent=f"{EVIL} Firefox/1")
    page = await console.open(CONSOLE)

    assert page.status == 200
    assert is_inert(page.text)


async def test_overview_takes_one_statement_for_each_source(
    console: Browser, helper: Browser, denizen: Denizen[UserModel], statements: StatementCounter
) -> None:
    """Users, events, mails; for admins the latest events, their names, and the doctor's look."""
    await a_user(denizen)
    counts = []
    for browser in (helper, console):
        await browser.open(CONSOLE)
        async with statements.listening() as heard:
            await browser.open(CONSOLE)
        counts.append({one for one in heard if "SELECT" in one})

    assert len(counts[0]) == 4, counts[0]
    assert len(counts[1]) == 4 + 2 + 3, counts[1]


async def test_overview_is_in_russian_too(console: Browser, denizen: Denizen[UserModel]) -> None:
    """Counts, charts, findings."""
    await a_user(denizen)
    await console.fill("/account/language", locale="ru")
    page = await console.open(CONSOLE)

    assert page.heading == "Обзор"
    assert "почтовый сервер не указан" in page.text
    assert 'aria-label="Регистрации: всего 0 (дней: 14), сегодня 0."' in page.text
