"""The list of users: search, filters, order, pages, how many, export; two statements for it."""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

import pytest

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.pages.console.listing import Listing
from denizen.users.counting import Count
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter
from denizen.users.schemas import UpdateUser
from denizen.users.status import STATUSES, status_of
from support import StatementCounter, a_user
from webforms import Browser, Page

Service = Denizen[UserModel]
USERS = "/console/users"


def shown(page: Page) -> list[str]:
    """Give the addresses in the list, in their order."""
    return re.findall(r'<a href="/console/users/[0-9a-f-]{36}">([^<]+)</a>', page.text)


def links(page: Page) -> list[str]:
    """Give where the links of a page lead."""
    return [str(told["href"]) for tag, told in page.tags if tag == "a" and "href" in told]


async def people(denizen: Service, *names: str) -> Sequence[UserModel]:
    """Put users into the database, each with an address of their name."""
    return [await a_user(denizen, email=f"{n}@example.com", username=n) for n in names]


async def test_list_shows_who_there_is_the_newest_first(
    console: Browser, denizen: Service, root: UserModel
) -> None:
    """Address, name, status, role, when; each row leads to the user; nothing is hidden at first."""
    await people(denizen, "ann", "bob")
    page = await console.open(USERS)

    assert page.heading == "Users"
    assert shown(page) == ["bob@example.com", "ann@example.com", "root@example.com"]
    for said in ("3 users", "Administrator", "Invited", "Active", f"{USERS}/{root.id}"):
        assert said in page.text
    assert 'aria-sort="descending"' in page.text
    assert '<span class="hidden">Select ann@example.com</span>' in page.text


async def test_alone_one_is_told_what_comes_next(console: Browser) -> None:
    """The first empty state: nobody else is here."""
    page = await console.open(USERS)

    assert "Nobody else is here yet. Create a user, or import" in page.text


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("ann", ["joanna@example.com", "ann@example.com"]),
        ("ANN@", ["ann@example.com"]),
        ("@example.com", ["fedor@example.com", "joanna@example.com", "ann@example.com"]),
        ("  joanna ", ["joanna@example.com"]),
        ("фед", ["fedor@example.com"]),
        ("Фёд", ["fedor@example.com"]),
        ("Фед", ["fedor@example.com"]),
        ("an", []),
        ("a", []),
        ("jo", ["joanna@example.com"]),
        ("JO", ["joanna@example.com"]),
        ("%", []),
        ("___", []),
        ("\\\\\\", []),
        ("' OR 1=1 --", []),
        ("nobody at all", []),
        ("a\x00nn", ["joanna@example.com", "ann@example.com"]),
        ("x" * 5000, []),
        ("{{7*7}}", []),
    ],
)
async def test_one_box_takes_whatever_is_known(
    console: Browser, denizen: Service, q: str, found: list[str]
) -> None:
    """Part of an address or a name; under three letters a whole one; never an error page."""
    await people(denizen, "ann")
    await a_user(denizen, email="joanna@example.com", username="jo")
    await a_user(denizen, email="fedor@example.com", username="фёдор")
    form = (await console.open(USERS)).forms[USERS]
    page = await console.send(form, q=q)

    assert page.status == 200
    assert [one for one in shown(page) if one != "root@example.com"] == found
    if not found and "example" not in q:
        assert "No user matches “" in page.text
        assert f'href="{USERS}">Clear the filters</a>' in page.text


async def test_box_takes_an_id(console: Browser, denizen: Service) -> None:
    """Whole, in any letter case; and so does a whole address in another spelling."""
    (ann,) = await people(denizen, "ann")
    await a_user(denizen, email="b@пример.рф", username="b")

    for q in (str(ann.id), str(ann.id).upper()):
        assert shown(await console.open(f"{USERS}?q={q}")) == ["ann@example.com"]
    for q in ("b@пример.рф", "b@xn--e1afmkfd.xn--p1ai", "B"):
        assert shown(await console.open(f"{USERS}?q={q}")) == ["b@пример.рф"]


async def of_every_kind(denizen: Service, databases: Databases) -> None:
    """Put a user for each mixture of what decides the status."""
    for number in range(16):
        user = await a_user(denizen, email=f"{number}@example.com", verified=bool(number & 1))
        async with superuser(databases.superuser_url) as connection:
            await connection.execute(
                "UPDATE users SET is_active = $2, hashed_password = $3, erase_after ="
                " CASE WHEN $4 THEN now() + interval '9 days' END WHERE id = $1",
                user.id,
                bool(number & 2),
                "$argon2id$" if number & 4 else None,
                bool(number & 8),
            )


async def test_status_is_the_same_in_the_badge_and_in_the_filter(
    console: Browser, denizen: Service, databases: Databases
) -> None:
    """Each user has one status, and is found under it alone; who is to be erased is, too."""
    await of_every_kind(denizen, databases)
    everybody = await denizen.users.list_users(UserFilter(also_leaving=True))
    assert len(everybody) == 17
    for status in STATUSES:
        expected = {u.email for u in everybody if status_of(u) == status}
        assert expected
        assert set(shown(await console.open(f"{USERS}?status={status}"))) == expected
    page = await console.open(f"{USERS}?status=leaving")
    assert len(re.findall(r"To be erased \d", page.text)) == 8
    assert len(await denizen.users.list_users(UserFilter())) == 9  # as the API has it


async def test_filters_stand_as_chips_that_can_be_removed_one_by_one(
    console: Browser, denizen: Service
) -> None:
    """Each says what it is, and its link leaves the others as they are."""
    (ann,) = await people(denizen, "ann")
    await denizen.users.update_user(ann.id, UpdateUser(role="support"))
    form = (await console.open(f"{USERS}?order=email")).forms[USERS]
    page = await console.send(form, q="ann", status="invited", role="support")

    assert shown(page) == ["ann@example.com"]
    for left in (
        "status=invited&amp;role=support&amp;order=email",
        "q=ann&amp;role=support&amp;order=email",
        "q=ann&amp;status=invited&amp;order=email",
    ):
        assert f'href="{USERS}?{left}"' in page.text
    assert page.forms[USERS].fields == {
        "q": "ann", "status": "invited", "role": "support", "order": "email"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("email", "anna@example.com"),
        ("-email", "root@example.com"),
        ("username", "bob@example.com"),
        ("-username", "anna@example.com"),
        ("created_at", "root@example.com"),
        ("-created_at", "bob@example.com"),
        ("nonsense", "bob@example.com"),
    ],
)
async def test_order_is_chosen_by_a_link_or_a_field(
    console: Browser, denizen: Service, order: str, first: str
) -> None:
    """By address, name and age, both ways; what is none is the newest first."""
    await a_user(denizen, email="anna@example.com", username="zoe")
    await a_user(denizen, email="bob@example.com", username="abe")
    page = await console.open(f"{USERS}?order={order}")

    assert shown(page)[0] == first
    assert page.text.count("aria-sort=") == 1


async def test_pages_keep_search_and_order_and_a_new_filter_begins_anew(
    console: Browser, denizen: Service
) -> None:
    """Fifty at a time, each user once; back to the beginning by one link."""
    async with denizen.db.get_session() as db:
        for number in range(120):
            name = f"user{number:03}"
            await UserModel.create(db, email=f"{name}@example.com", username=name)
    page = await console.open(f"{USERS}?q=user&order=email")
    seen = shown(page)
    assert "120 users" in page.text
    while following := [link for link in links(page) if "cursor=" in link]:
        page = await console.open(following[0])
        assert page.forms[USERS].fields["q"] == "user"
        assert f"{USERS}?q=user&order=email" in links(page)
        assert "120 users" in page.text
        seen += shown(page)
    moved = await console.open(following[0] if following else f"{USERS}?q=root&cursor=stale")

    assert seen == [f"user{number:03}@example.com" for number in range(120)]
    assert (moved.status, shown(moved)) == (200, ["root@example.com"])


async def test_many_are_counted_only_so_far(
    console: Browser, denizen: Service, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly up to a limit; beyond it all users by the database's own estimate, some not at all.

    A count that takes long is given up: the page is there without it.
    """
    await people(denizen, *(f"u{n:02}" for n in range(60)))
    monkeypatch.setattr("denizen.users.queries.COUNTED", 20)
    users, everybody = denizen.users, Listing().wanted
    over = await users.count_users(everybody)
    async with superuser(databases.superuser_url) as connection:
        await connection.execute("ANALYZE users")
        about = await users.count_users(everybody)
        some = await users.count_users(UserFilter(search="example"))
        none = await users.count_users(UserFilter(search="nobody"))
        page = await console.open(USERS)
        async with connection.transaction():
            await connection.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            unknown = await users.count_users(everybody)

    assert [over, about, some] == [Count(20, "over"), Count(61, "about"), Count(20, "over")]
    assert [none, unknown] == [Count(0, "exact"), Count(0, "unknown")]
    assert "About 61 users" in page.text


@pytest.mark.parametrize(
    ("query", "budget"), [("", 2), ("?q=ann", 2), ("?q=user", 6), ("?order=email", 2)]
)
async def test_list_takes_as_many_statements_as_it_needs(
    console: Browser, denizen: Service, statements: StatementCounter, query: str, budget: int
) -> None:
    """Who asks, the page; where there are more, the count in its own bounds."""
    if budget > 2:
        await people(denizen, *(f"user{n:02}" for n in range(51)))
    await console.open(USERS)  # what is prepared once
    async with statements.listening() as heard:
        await console.open(f"{USERS}{query}")

    assert len(heard) == budget, heard


async def test_list_is_exported_as_it_is_seen(
    console: Browser, denizen: Service, root: UserModel
) -> None:
    """A file for spreadsheets with whoever the filter finds, no hash, no formula; the audit knows.

    T-CSV-1: a name that begins like a formula is a text.
    """
    await a_user(denizen, email="=cmd@example.com", username="+ann", password="x" * 20)
    await people(denizen, "bob")
    form = (await console.open(f"{USERS}?q=cmd")).forms["/console/export"]
    answer = await console.post(form)
    again = await console.post(form)
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    events = await denizen.audit.list_events(action="users.exported")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r'attachment; filename="users-\d{4}-\d\d-\d\d\.csv"', answer.headers["content-disposition"]
    )
    assert answer.headers["cache-control"] == "no-store"
    assert [(row["email"], row["username"]) for row in rows] == [("'=cmd@example.com", "'+ann")]
    assert "argon2" not in answer.text
    assert again.content == answer.content
    assert [event.actor_id for event in events] == [root.id] * 2


async def test_export_that_fails_before_it_begins_is_an_error(
    console: Browser, denizen: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody saves a part of a file, or an error, as their users."""
    form = (await console.open(USERS)).forms["/console/export"]

    async def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("denizen.exports.scenarios.copy_out", fail)
    answer = await console.post(form)

    assert answer.status_code == 500
    assert "content-disposition" not in answer.headers


async def test_support_reads_and_is_offered_nothing_else(
    helper: Browser, denizen: Service, root: UserModel
) -> None:
    """The list without ticks, and no way to create, import or export."""
    page = await helper.open(USERS)

    assert root.email in shown(page)
    assert set(page.forms) == {USERS, "/account/sign-out", "/account/language"}
    for path in (f"{USERS}/new", "/console/imports"):
        assert path not in links(page)


async def test_list_speaks_russian(russian: Browser, denizen: Service, root: UserModel) -> None:
    """In three forms of the number, with statuses that agree with the account."""
    await denizen.account.update_me(root.id, {"locale": "ru"})
    await people(denizen, "ann", "bob")
    await russian.sign_in(root.email, "a fine long passphrase 77")
    page = await russian.open(USERS)
    none = await russian.open(f"{USERS}?q=ничего")

    assert page.heading == "Пользователи"
    for said in ("3 пользователя", "Активна", "Администратор", "Создать пользователя"):
        assert said in page.text
    assert "под запрос «ничего»" in none.text


async def test_t_csrf_3_looking_at_the_list_leaves_no_event(
    console: Browser, denizen: Service
) -> None:
    """T-CSRF-3: searching, sorting and paging are not written down."""
    before = len(await denizen.audit.list_events())
    for query in ("", "?q=ann", "?status=leaving&role=admin", "?cursor=x"):
        await console.open(USERS + query)

    assert len(await denizen.audit.list_events()) == before
