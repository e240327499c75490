"""Two servers, one that follows: what is read where, what happens when either is away."""

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from denizen.app import Denizen
from denizen.db.engine import _Spreading
from denizen.db.errors import UnavailableError, UnitOfWorkError
from denizen.db.testing import superuser
from denizen.db.unit import Db
from denizen.settings import Settings
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter
from denizen.users.schemas import CreateUser, UpdateUser
from streaming import Pair, streaming
from support import PASSWORD, Api, a_user


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a primary and a standby that a test may hold up, but not end."""
    with streaming(tmp_path_factory.mktemp("pair")) as found:
        yield found


@pytest.fixture
def settings(settings: Settings, pair: Pair) -> Settings:
    """Give settings that name both."""
    urls = {"database_url": SecretStr(pair.primary.app_url), "migrate_url": None}
    return settings.model_copy(
        update={**urls, "replica_urls": [SecretStr(pair.standby.app_url)], "throttle": "off"}
    )


@pytest.fixture
async def held(pair: Pair) -> AsyncIterator[Pair]:
    """Give the two, the standby showing things as they are now until the test ends."""
    await pair.catch_up()
    await asyncio.to_thread(pair.pause_replay)
    yield pair
    await asyncio.to_thread(pair.resume_replay)


async def _names(denizen: Denizen[UserModel]) -> set[str]:
    return {user.username for user in await denizen.users.list_users(UserFilter(), limit=200)}


async def test_lists_search_exports_and_audit_come_from_the_replica(
    denizen: Denizen[UserModel], admin: Api, held: Pair
) -> None:
    """Held up, it shows nothing of what has just happened; caught up, all of it."""
    name = f"late{secrets.token_hex(4)}"
    user = await denizen.users.create_user(
        CreateUser(email=f"{name}@example.com", username=name, email_verified=True)
    )

    async def seen() -> list[bool]:
        exported = bytearray()

        async def write(data: bytes) -> None:
            exported.extend(data)

        await denizen.exports.export(write, "jsonl")
        listed = (await admin.get("/v1/users?limit=200")).json()["items"]
        found = (await admin.get(f"/v1/users?q={name}")).json()["items"]
        every = (await admin.get("/v1/audit-events?limit=200")).json()["items"]
        events = [event for event in every if event["user_id"] == str(user.id)]
        there = name in {one["username"] for one in listed}
        return [there, bool(found), name.encode() in exported, bool(events)]

    assert await seen() == [False] * 4
    await asyncio.to_thread(held.resume_replay)
    await held.catch_up()
    assert await seen() == [True] * 4
    assert denizen.db.missed == 0


async def test_what_decides_and_what_was_just_written_comes_from_the_primary(
    denizen: Denizen[UserModel], anonymous: Api, admin: Api, held: Pair
) -> None:
    """Sessions, roles, keys, single users: at once, however far the replica is behind."""
    user = await a_user(denizen, password=PASSWORD, role="admin")
    signed_in = await anonymous.signed_in(user.email, PASSWORD)
    key, made = await denizen.keys.create_key("late", ["users:read"])

    assert (await signed_in.get("/v1/me")).json()["id"] == str(user.id)
    assert (await signed_in.get("/v1/users?limit=1")).status_code == 200
    assert (await Api(anonymous.client, key).get("/v1/users?limit=1")).status_code == 200
    shown = await admin.get(f"/v1/users/{user.id}")
    assert (shown.status_code, shown.json()["role"]) == (200, "admin")
    assert (await denizen.users.find_user(user.username)).id == user.id
    sessions = (await signed_in.get("/v1/me/sessions")).json()["items"]
    assert len(sessions) == 1

    await denizen.users.update_user(user.id, UpdateUser(role="support"))
    assert (await signed_in.get("/v1/audit-events")).status_code == 403
    await denizen.users.update_user(user.id, UpdateUser(is_active=False))
    assert (await signed_in.get("/v1/me")).status_code == 401
    await denizen.keys.revoke_key(made.id)
    assert (await Api(anonymous.client, key).get("/v1/users?limit=1")).status_code == 401


async def test_replica_takes_no_write(denizen: Denizen[UserModel]) -> None:
    """Not by the session, which refuses; and not by text, which the server refuses."""

    async def add(db: Db) -> None:
        db.add(UserModel(email="x@example.com", username="x"))

    with pytest.raises(UnitOfWorkError):
        await denizen.db.run(add, read_only=True, may_be_stale=True)
    reader = await denizen.db.reader()
    assert reader is not denizen.db
    with pytest.raises(UnavailableError):
        async with reader.make_connection() as connection:
            await connection.execute(text("CREATE TABLE x (y int)"))


@pytest.fixture
async def lonely(settings: Settings, tmp_path: Path) -> AsyncIterator[Denizen[UserModel]]:
    """Give a service whose replica is not there, and the one of another port neither."""
    nowhere = f"postgresql://denizen@/denizen?host={tmp_path}"
    urls = [SecretStr(nowhere), SecretStr(nowhere)]
    found: Denizen[UserModel] = Denizen(settings=settings.model_copy(update={"replica_urls": urls}))
    await found.start()
    yield found
    await found.stop()


async def test_primary_answers_when_no_replica_does(
    lonely: Denizen[UserModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, audit and exports; asked in vain once, not at every read."""
    monkeypatch.setattr("denizen.db.replicas._AWAY", 60.0)
    name = f"alone{secrets.token_hex(4)}"
    await a_user(lonely, username=name)
    asked = 0
    if lonely.db._replicas is not None:
        lonely.db._replicas._away_until = 0.0  # whoever was made just now has asked already
    connect = _Spreading._connect

    async def counting(self: _Spreading, *place: Any) -> Any:
        nonlocal asked
        asked += 1
        return await connect(self, *place)

    monkeypatch.setattr(_Spreading, "_connect", counting)
    assert name in await _names(lonely)
    for _ in range(5):
        await _names(lonely)
        await lonely.audit.list_events()
    assert (lonely.db.missed, asked) == (11, 2)
    assert await lonely.db.reader() is lonely.db
    lines: list[bytes] = []

    async def write(data: bytes) -> None:
        lines.append(data)

    await lonely.exports.export(write, "jsonl")
    assert name.encode() in b"".join(lines)


async def test_replica_that_is_back_is_asked_again(
    denizen: Denizen[UserModel], pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its backends ended: the primary answers; a little later the replica does."""
    monkeypatch.setattr("denizen.db.replicas._AWAY", 0.2)
    await a_user(denizen)
    await pair.catch_up()
    await _names(denizen)
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'denizen'"
    async with superuser(pair.standby.superuser_url) as standby:
        await standby.execute(ended)
        assert await _names(denizen)
        await asyncio.sleep(0.3)
        before = denizen.db.missed
        assert await _names(denizen)
        assert denizen.db.missed == before
        there = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'denizen'"
        assert await standby.fetchval(there) == 1


@dataclass(slots=True)
class Told:
    """What writers were told."""

    acknowledged: list[str]
    last: float = 0.0
    gap: float = 0.0

    def note(self, name: str) -> None:
        """Note one that was acknowledged, and how long nobody was."""
        now = time.monotonic()
        self.gap = max(self.gap, now - (self.last or now))
        self.last = now
        self.acknowledged.append(name)


@pytest.fixture
def synchronous(tmp_path: Path) -> Iterator[Pair]:
    """Run a primary that acknowledges what is on both."""
    with streaming(tmp_path / "pair", synchronous=True) as found:
        yield found


async def test_standby_promoted_under_writes_loses_nobody(
    settings: Settings, synchronous: Pair
) -> None:
    """The primary killed, the standby promoted: the same service goes on, and all are there."""
    changed = {"database_url": SecretStr(synchronous.both_url), "replica_urls": []}
    denizen: Denizen[UserModel] = Denizen(settings=settings.model_copy(update=changed))
    await denizen.start()
    told = Told([])
    try:
        writers = [asyncio.create_task(_write(denizen, told, n)) for n in range(4)]
        await _until(told, 20)
        synchronous.kill_primary()
        await asyncio.to_thread(synchronous.promote)
        await _until(told, len(told.acknowledged) + 20)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        async with superuser(synchronous.standby.superuser_url) as watcher:
            rows = await watcher.fetch("SELECT username FROM users")
    finally:
        await denizen.stop()

    found = [row["username"] for row in rows]
    print(f"{len(told.acknowledged)} acknowledged, longest gap {told.gap:.1f} s")
    assert set(told.acknowledged) - set(found) == set()
    assert len(found) == len(set(found))
    assert told.gap < 15


async def _write(denizen: Denizen[UserModel], told: Told, writer: int) -> None:
    """Make one user after the other; what failed is not tried again."""
    for number in itertools.count():
        name = f"w{writer}n{number}"
        try:
            await denizen.users.create_user(CreateUser(email=f"{name}@example.com", username=name))
        except UnavailableError:
            continue
        told.note(name)


async def _until(told: Told, count: int) -> None:
    async with asyncio.timeout(60):
        while len(told.acknowledged) < count:  # noqa: ASYNC110  # they are many
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("count", [1, 2])
async def test_standby_alone_is_no_primary(settings: Settings, pair: Pair, count: int) -> None:
    """Hosts, and none that takes writes: unavailable, and no read is answered either.

    One address, too, may lead to a standby: a balancer's that knows no better for a moment.
    """
    hosts = ",".join([pair.standby.app_url.partition("host=")[2]] * count)
    url = SecretStr(f"postgresql://denizen@/denizen?host={hosts}")
    changed = {"database_url": url, "replica_urls": []}
    denizen: Denizen[UserModel] = Denizen(settings=settings.model_copy(update=changed))
    await denizen.start()
    try:
        with pytest.raises(UnavailableError):
            await denizen.keys.list_keys()
    finally:
        await denizen.stop()
