"""PgBouncer in transaction mode: one setting, and everything works over few server connections."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import bindparam, func, select, text

from denizen.app import Denizen
from denizen.db.direct import CompiledStatement
from denizen.db.engine import DatabaseSettings
from denizen.db.errors import DataError, UnavailableError
from denizen.db.manager import DBSessionManager
from denizen.db.testing import Databases
from denizen.doctor.examination import examine
from denizen.imports.schemas import ImportOptions
from denizen.migrations import migrate, schema_is_current
from denizen.settings import Settings
from denizen.users.model import UserModel
from pooling import PROGRAM, SERVER_CONNECTIONS, pooling, through
from support import PASSWORD, Api, a_user

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer on this machine")
CLIENTS = 20


@pytest.fixture(scope="module")
def pooler(server: Databases) -> Iterator[Path]:
    """Run PgBouncer before the tests' server."""
    with pooling(server.superuser_url) as folder:
        yield folder


@pytest.fixture
def settings(settings: Settings, databases: Databases, pooler: Path) -> Settings:
    """Give settings that lead through it."""
    url = SecretStr(through(pooler, databases.app_url))
    update = {"database_url": url, "database_pooler": "transaction", "throttle": "off"}
    return settings.model_copy(update=update)


async def test_transactions_reads_and_hot_reads_share_few_connections(
    denizen: Denizen[UserModel],
) -> None:
    """300 units of 20 clients over 4 connections: each does its own, none fails."""
    db, dialect = denizen.db, denizen.db.engine.dialect
    users = UserModel.__table__
    hot = CompiledStatement(
        select(users.c.username).where(users.c.id == bindparam("user_id")), dialect
    )

    async def once(number: int) -> tuple[object, object, object]:
        user = await a_user(denizen, username=f"pooled{number}")
        row = await db.fetch_row(hot, user_id=user.id)
        found = await db.run(lambda unit: UserModel.get_by_id(unit, user.id), read_only=True)
        async with db.get_session() as unit:
            await unit.execute(text("SELECT pg_sleep(0.001)"))
            count = await unit.scalar(select(func.count()).where(users.c.id == user.id))
        assert row is not None
        assert found is not None
        return row["username"], found.username, count

    gate = asyncio.Semaphore(CLIENTS)

    async def queued(number: int) -> tuple[object, object, object]:
        async with gate:
            return await once(number)

    done = await asyncio.gather(*(queued(number) for number in range(300)))

    assert done == [(f"pooled{number}", f"pooled{number}", 1) for number in range(300)]
    backends = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    async with db.get_session(read_only=True) as unit:
        assert await unit.scalar(backends) <= SERVER_CONNECTIONS


async def test_without_the_setting_nothing_connects(databases: Databases, pooler: Path) -> None:
    """PgBouncer refuses what a session is told at its start; that is better than a mixed-up one."""
    db = DBSessionManager(through(pooler, databases.app_url))
    db.init()

    with pytest.raises(UnavailableError):
        async with db.get_session() as unit:
            await unit.execute(text("SELECT 1"))
    await db.close_connections()


async def test_limits_hold_in_each_transaction_and_stay_with_nobody(
    databases: Databases, pooler: Path
) -> None:
    """They come with BEGIN, and end with the transaction."""
    url = through(pooler, databases.app_url)
    db = DBSessionManager(
        DatabaseSettings(url=url, pooler="transaction", lock_timeout=timedelta(seconds=7))
    )
    db.init()
    limit = text("SELECT current_setting('lock_timeout')")

    async with db.get_session() as unit:
        inside = await unit.scalar(limit)
    async with db.get_session(read_only=True) as unit:
        outside = await unit.scalar(limit)
    async with db.get_session() as unit:  # on the connection that has just read without one
        again = await unit.scalar(limit)
    await db.close_connections()

    assert (inside, outside, again) == ("7s", "0", "7s")


async def test_statement_that_takes_too_long_ends_in_and_outside_a_transaction(
    databases: Databases, pooler: Path
) -> None:
    """By the server's limit, or by the driver's; the pool is of use afterwards."""
    url, short = through(pooler, databases.app_url), timedelta(seconds=0.8)
    db = DBSessionManager(DatabaseSettings(url=url, pooler="transaction", statement_timeout=short))
    db.init()

    for read_only in (False, True):
        with pytest.raises(DataError):
            async with db.get_session(read_only=read_only) as unit:
                await unit.execute(text("SELECT pg_sleep(20)"))
        async with db.get_session() as unit:
            assert await unit.scalar(text("SELECT 1")) == 1
    await db.close_connections()


async def test_statement_is_read_as_the_table_is_now(databases: Databases, pooler: Path) -> None:
    """No statement is kept with the types of an earlier day: nobody would tell of a change."""
    await databases.run("CREATE TABLE changing (value int); INSERT INTO changing VALUES (7)")
    url = through(pooler, databases.owner_url)
    db = DBSessionManager(DatabaseSettings(url=url, pooler="transaction"))
    db.init()
    await databases.run("GRANT SELECT ON changing TO denizen_owner")
    found = []

    for change in ("SELECT 1", "ALTER TABLE changing ALTER value TYPE text"):
        await databases.run(change)
        async with db.get_session(read_only=True) as unit:
            found.append(await unit.scalar(text("SELECT value FROM changing")))
    await db.close_connections()

    assert found == [7, "7"]


async def test_schema_is_made_through_the_pooler(server: Databases, pooler: Path) -> None:
    """Migrations run in one transaction, under a lock that ends with it."""
    name = f"pooled_{uuid.uuid4().hex}"
    await server.run(f"CREATE DATABASE {name} OWNER denizen_owner")
    url = through(pooler, server.on(name).owner_url)
    db = DBSessionManager(DatabaseSettings(url=url, pooler="transaction"))
    db.init()

    await migrate(db, serving_role="denizen")

    assert await schema_is_current(db.engine)
    await db.close_connections()
    await server.run(f"DROP DATABASE {name} WITH (FORCE)")


async def test_service_is_used_through_the_pooler(
    denizen: Denizen[UserModel], admin: Api, anonymous: Api, tmp_path: Path
) -> None:
    """People sign in and out, an admin lists and imports: with temporary tables and COPY."""
    people = [await a_user(denizen, password=PASSWORD) for _ in range(3)]

    async def visit(user: UserModel) -> list[int]:
        api = await anonymous.signed_in(user.email, PASSWORD)
        answers = [await api.get("/v1/me"), await api.get("/v1/me/sessions")]
        answers += [await api.get("/v1/me/export"), await api.delete("/v1/me/sessions/current")]
        return [answer.status_code for answer in [*answers, await api.get("/v1/me")]]

    assert await asyncio.gather(*map(visit, people)) == [[200, 200, 200, 204, 401]] * 3
    assert len((await admin.get("/v1/users")).json()["items"]) == 4
    assert (await admin.get("/v1/audit-events")).status_code == 200
    await denizen.exports.export_file(tmp_path / "users.csv", "csv")
    (tmp_path / "more.csv").write_text("email,username\nb@example.com,b\n", encoding="utf-8")
    taken = await denizen.imports.import_file(tmp_path / "more.csv", ImportOptions())
    assert (taken.state, taken.created) == ("finished", 1)


async def test_doctor_sees_the_pooler(
    denizen: Denizen[UserModel], databases: Databases, settings: Settings
) -> None:
    """There and told, there and not told, told and not there."""
    direct: Denizen[UserModel] = Denizen(
        settings=settings.model_copy(update={"database_url": SecretStr(databases.app_url)})
    )
    await direct.start()
    untold = settings.model_copy(update={"database_pooler": "none"})
    found = [
        {one.code for one in await examine(denizen.db, settings)},
        {one.code for one in await examine(denizen.db, untold)},
        {one.code for one in await examine(direct.db, settings)},
        {one.code for one in await examine(direct.db, untold)},
    ]
    await direct.stop()

    codes = {"pooler", "pooler_unnamed", "pooler_missing", "connections", "connections_many"}
    assert [one & codes for one in found[:3]] == [
        {"pooler"},
        {"pooler_unnamed"},
        {"pooler_missing"},
    ]
    assert found[3] & codes <= {"connections", "connections_many"}
