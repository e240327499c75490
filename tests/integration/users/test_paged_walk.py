"""Walking long lists while others write, and searching in them."""

import asyncio
import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from uuid_utils.compat import uuid7

from denizen.app import Denizen
from denizen.db.testing import Databases, superuser
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter, conditions
from denizen.users.schemas import UserOrder
from support import a_user

COUNT = 100_000
_DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy's is not
COLUMNS = (
    "id", "email", "email_key", "username", "username_key", "role", "locale", "is_active",
    "email_verified_at", "created_at", "updated_at", "version",
)  # fmt: skip


def _row(number: int, at: datetime) -> tuple[object, ...]:
    name = f"{random.Random(number).getrandbits(40):010x}n{number}"
    email = f"{name}@example.com"
    return (uuid7(), email, email, name, name, "user", "en", True, at, at, at, 1)


async def test_walks_while_others_write_see_each_that_stayed_once(
    denizen: Denizen[UserModel], databases: Databases
) -> None:
    """100,000 users, some of one instant, others come and go: who stayed is seen exactly once.

    In every order; the walks go on side by side.
    """
    began = datetime.now(UTC) - timedelta(hours=1)
    # every tenth batch shares one instant, as an import would
    rows = [_row(n, began + timedelta(milliseconds=n // 1000)) for n in range(COUNT)]
    doomed = [row[0] for row in rows[::97]]
    stayed = {row[0] for row in rows} - set(doomed)
    async with superuser(databases.superuser_url) as writer:
        await writer.copy_records_to_table("users", records=rows, columns=COLUMNS)
        await writer.execute("ANALYZE users")
        orders: list[UserOrder] = ["created_at", "-created_at", "email", "-username"]
        walking = asyncio.gather(*(_walk(denizen, order) for order in orders))
        added = 0
        for user_id in doomed:
            await writer.execute("DELETE FROM users WHERE id = $1", user_id)
            new = [_row(COUNT + added, datetime.now(UTC))]
            await writer.copy_records_to_table("users", records=new, columns=COLUMNS)
            added += 1
            if walking.done():
                break
        walks = dict(zip(orders, await walking, strict=True))

    assert added > 50, "the walks were over before the others began"
    for order, seen in walks.items():
        assert len(seen) == len(set(seen)), order
        assert stayed <= set(seen), order


async def _walk(denizen: Denizen[UserModel], order: UserOrder) -> list[uuid.UUID]:
    seen: list[uuid.UUID] = []
    cursor: str | None = None
    while True:
        page = await denizen.users.list_users(UserFilter(), order=order, limit=200, cursor=cursor)
        seen += [user.id for user in page]
        if (cursor := page.next_cursor) is None:
            return seen


async def test_page_at_depth_reads_as_much_as_the_first(
    denizen: Denizen[UserModel], databases: Databases
) -> None:
    """A page deep in the list is an index scan of its own rows, not of those before it."""
    began = datetime.now(UTC) - timedelta(hours=1)
    rows = [_row(n, began + timedelta(milliseconds=n)) for n in range(20_000)]
    async with superuser(databases.superuser_url) as watcher:
        await watcher.copy_records_to_table("users", records=rows, columns=COLUMNS)
        await watcher.execute("VACUUM ANALYZE users")
        middle = rows[10_000]
        plan = await watcher.fetchval(
            "EXPLAIN (FORMAT JSON) SELECT * FROM users WHERE (created_at, id) < ($1, $2) "
            "ORDER BY created_at DESC, id DESC LIMIT 51",
            middle[9],
            middle[0],
        )

    assert "Index Scan" in plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize(
    "wanted",
    [
        UserFilter(q="семёнов"),
        UserFilter(q="%%%"),
        UserFilter(q="\\_\\"),
        UserFilter(search="семенов"),
        UserFilter(search="---"),
    ],
    ids=["letters", "percents", "backslashes", "е or ё", "dashes"],
)
async def test_search_reads_no_more_than_an_index_says(
    denizen: Denizen[UserModel], databases: Databases, wanted: UserFilter
) -> None:
    """Whatever is looked for: with twenty thousand users, and none found, nobody reads them all."""
    began = datetime.now(UTC) - timedelta(hours=1)
    rows = [_row(n, began + timedelta(milliseconds=n)) for n in range(20_000)]
    statement = select(UserModel.id).where(*conditions(UserModel, wanted))
    sql = str(statement.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
    async with superuser(databases.superuser_url) as watcher:
        await watcher.copy_records_to_table("users", records=rows, columns=COLUMNS)
        await watcher.execute("VACUUM ANALYZE users")
        plan = await watcher.fetchval(f"EXPLAIN (FORMAT JSON) {sql}")

    assert "Seq Scan" not in plan


@pytest.mark.parametrize("signs", ["%%%", "___", "+-+", "\\[^", "***"])
async def test_signs_are_found_as_they_stand(denizen: Denizen[UserModel], signs: str) -> None:
    """Signs mean themselves, in the API and in the console's box; others are not found."""
    mine = await a_user(denizen, username=f"x{signs}y")
    await a_user(denizen, username="xaby")

    for wanted in (UserFilter(q=signs), UserFilter(search=signs), UserFilter(search=f"x{signs}y")):
        page = await denizen.users.list_users(wanted)
        assert [user.id for user in page] == [mine.id]


async def test_russian_letters_that_stand_for_each_other(denizen: Denizen[UserModel]) -> None:
    """The console's box finds Семёнов by е and by ё, and Семенов, too; with signs beside them."""
    users = [await a_user(denizen, username=name) for name in ("семёнов.(1)", "семенов.(1)")]

    for asked in ("семенов", "семёнов", "СЕМЕНОВ.(1)", "менов.("):
        found = await denizen.users.list_users(UserFilter(search=asked), order="created_at")
        assert [user.id for user in found] == [user.id for user in users]
    assert not list(await denizen.users.list_users(UserFilter(search="семеновx1")))
