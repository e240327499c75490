"""The defects of the sketch that denizen grew from, row by row.

Rows that are proved elsewhere are marked there: `pytest -m sketch` runs them all, and
`docs/sketch.md` lists them.
"""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import UniqueConstraint, inspect
from sqlalchemy.ext.asyncio import create_async_engine

import denizen as package
from denizen.app import Denizen
from denizen.db.errors import DataError, TakenError
from denizen.db.model import table_of, unique_keys
from denizen.db.testing import Databases, superuser
from denizen.settings import Settings
from denizen.users.model import UserModel
from denizen.users.schemas import CreateUser
from support import PASSWORD, Api, a_user


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Give settings without limits: one client sends more here than anybody may."""
    return settings.model_copy(update={"throttle": "off"})


@pytest.mark.sketch(1)
async def test_row_1_index_decides_when_the_look_up_saw_nobody(
    denizen: Denizen[UserModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the courtesy look-up blinded, the unique index still names the field."""

    async def sees_nobody(*_: object, **__: object) -> tuple[str, ...]:
        return ()

    await a_user(denizen, email="ann@example.com")
    monkeypatch.setattr("denizen.users.queries.is_taken", sees_nobody)

    payload = CreateUser.model_validate(
        {"email": "ANN@example.com", "username": "new", "password": PASSWORD}
    )
    with pytest.raises(TakenError) as caught:
        await denizen.users.create_user(payload)

    assert caught.value.fields == ("email",)


@pytest.mark.sketch(4)
async def test_row_4_failure_of_one_request_leaves_others_alone(admin: Api) -> None:
    """Refused and accepted requests at once don't share a transaction: all accepted are there."""
    await admin.post("/v1/users", json={"email": "taken@example.com", "username": "taken"})
    bodies = [{"email": f"u{n}@example.com", "username": f"u{n}"} for n in range(20)]
    bodies += [{"email": "taken@example.com", "username": f"v{n}"} for n in range(20)]

    answers = await asyncio.gather(*(admin.post("/v1/users", json=body) for body in bodies))

    assert [a.status_code for a in answers] == [201] * 20 + [409] * 20
    assert len((await admin.get("/v1/users?limit=200")).json()["items"]) == 22


@pytest.mark.sketch(5)
async def test_row_5_instance_uses_what_its_constructor_was_given(
    denizen: Denizen[UserModel], server: Databases, template: str
) -> None:
    """Two instances in one process, on two databases, know nothing of each other."""
    await server.run(f"CREATE DATABASE second TEMPLATE {template} OWNER denizen_owner")
    engine = create_async_engine(
        server.on("second").app_url.replace("postgresql:", "postgresql+asyncpg:")
    )
    other = Denizen(engine=engine, settings=denizen.settings)
    await other.start()
    payload = CreateUser(email="ann@example.com", username="ann")

    first = await denizen.users.create_user(payload)
    second = await other.users.create_user(payload)

    assert (await other.users.find_user("ann")).id == second.id != first.id
    await other.stop()
    await engine.dispose()
    await server.run("DROP DATABASE second WITH (FORCE)")


@pytest.mark.sketch(6)
async def test_row_6_get_by_email_gives_the_user_or_none(denizen: Denizen[UserModel]) -> None:
    """A model, not a result: nobody is None, in any spelling the user is found."""
    user = await a_user(denizen, email="Ann@Example.com")
    async with denizen.db.get_session(read_only=True) as db:
        nobody = await UserModel.get_by_email(db, "nobody@example.com")
        no_address = await UserModel.get_by_email(db, "no address")
        found = await UserModel.get_by_email(db, "aNN@example.COM")

    assert nobody is None
    assert no_address is None
    assert found is not None
    assert found.id == user.id


@pytest.mark.sketch(8)
async def test_row_8_created_at_is_the_databases_now_with_a_zone(
    denizen: Denizen[UserModel],
) -> None:
    """Two users made one after the other have two instants, in UTC, near now."""
    first = await a_user(denizen)
    await asyncio.sleep(0.01)
    second = await a_user(denizen)

    assert second.created_at > first.created_at
    assert first.created_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - first.created_at) < timedelta(minutes=1)


@pytest.mark.sketch(9)
async def test_row_9_log_holds_no_statement_and_no_value(
    denizen: Denizen[UserModel], caplog: pytest.LogCaptureFixture
) -> None:
    """At the most talkative level, no password hash, address or password is logged."""
    caplog.set_level(logging.DEBUG)
    await a_user(denizen, email="canary@example.com", password=PASSWORD)
    await denizen.sessions.sign_in("canary@example.com", PASSWORD)
    with pytest.raises(DataError):
        await a_user(denizen, email="canary@example.com")

    for canary in ("canary", PASSWORD, "$argon2"):
        assert canary not in caplog.text


@pytest.mark.sketch(13)
async def test_row_13_keys_are_unique_bounded_and_never_null(
    denizen: Denizen[UserModel], databases: Databases
) -> None:
    """Both keys compare in C, are NOT NULL, and bounded; so is what people typed."""
    async with superuser(databases.superuser_url) as watcher:
        columns = await watcher.fetch(
            "SELECT column_name, is_nullable, character_maximum_length, collation_name "
            "FROM information_schema.columns WHERE table_name = 'users'"
        )
    found = {row["column_name"]: row for row in columns}
    assert found["email_key"]["collation_name"] == found["username_key"]["collation_name"] == "C"
    for name in ("email", "email_key", "username", "username_key"):
        assert found[name]["is_nullable"] == "NO"
        assert found[name]["character_maximum_length"]


@pytest.mark.sketch(14)
def test_row_14_no_two_indexes_serve_the_same() -> None:
    """No index repeats another's leading columns, and the primary key has none beside it."""
    table = table_of(UserModel)
    whole = [i for i in table.indexes if i.dialect_options["postgresql"]["where"] is None]
    leading = [tuple(c.name for c in index.columns) for index in whole]
    leading += [
        tuple(c.name for c in constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    ]
    leading.append(tuple(c.name for c in table.primary_key))

    for one in leading:
        assert not [two for two in leading if two is not one and two[: len(one)] == one]
    assert [key.field for key in unique_keys(table)] == ["id", "email", "username"]


@pytest.mark.sketch(15)
def test_row_15_nothing_waits_for_an_exception_that_never_comes() -> None:
    """`NoResultFound` is not caught anywhere: `get` answers None."""
    source = Path(package.__file__).parent

    assert not [p for p in source.rglob("*.py") if "NoResultFound" in p.read_text("utf-8")]


@pytest.mark.sketch(17)
async def test_row_17_caller_sets_only_the_named_columns(admin: Api) -> None:
    """Fields that are not the caller's are refused by name, and nothing is created (T-AZ-3)."""
    base = {"email": "mass@example.com", "username": "mass"}
    for name in ("id", "hashed_password", "created_at", "version", "email_key", "is_admin"):
        answer = await admin.post("/v1/users", json=base | {name: "x"})
        assert answer.status_code == 422
        assert [e["field"] for e in answer.json()["errors"]] == [name]

    assert (await admin.get("/v1/users?username=mass")).json()["items"] == []


@pytest.mark.sketch(18)
@pytest.mark.full_hashes
async def test_row_18_event_loop_turns_while_passwords_are_hashed(
    denizen: Denizen[UserModel], anonymous: Api
) -> None:
    """Thirty sign-ins at once: another request is answered meanwhile, not after them."""
    user = await a_user(denizen, password=PASSWORD)
    body = {"email": user.email, "password": PASSWORD}
    storm = [asyncio.create_task(anonymous.post("/v1/sessions", json=body)) for _ in range(30)]
    began = time.monotonic()
    await asyncio.sleep(0.05)  # longer if somebody hashes in the loop
    answer = await anonymous.get("/healthz")
    took = time.monotonic() - began

    assert answer.status_code == 200
    assert sum(task.done() for task in storm) < 25
    assert took < 0.4  # thirty hashes in the loop take twice as long
    meanwhile = 0
    while not all(task.done() for task in storm):
        assert (await anonymous.get("/healthz")).status_code == 200
        meanwhile += denizen.hasher.queue.running > 0
        await asyncio.sleep(0.001)
    assert meanwhile > 10
    await asyncio.gather(*storm)


@pytest.mark.sketch(18)
@pytest.mark.full_hashes
async def test_row_18_t_dos_1_sign_ins_beyond_the_queue_are_refused_at_once(
    denizen: Denizen[UserModel], anonymous: Api
) -> None:
    """Beyond about a second of hashing: 503 with `Retry-After`; the others are served."""
    user = await a_user(denizen, password=PASSWORD)
    body = {"email": user.email, "password": PASSWORD}

    async def timed() -> tuple[int, str | None, float]:
        began = time.monotonic()
        answer = await anonymous.post("/v1/sessions", json=body)
        return answer.status_code, answer.headers.get("retry-after"), time.monotonic() - began

    results = await asyncio.gather(*(timed() for _ in range(400)))

    refused = [(after, took) for status, after, took in results if status == 503]
    assert {status for status, _, _ in results} == {201, 503}
    assert len(refused) > 50
    assert {after for after, _ in refused} == {"1"}
    assert denizen.hasher.queue.waiting == denizen.hasher.queue.running == 0
    again = await anonymous.post("/v1/sessions", json=body)
    assert again.status_code == 201


@pytest.mark.sketch(20)
async def test_row_20_every_pool_setting_has_a_bound(denizen: Denizen[UserModel]) -> None:
    """Size, overflow, waiting and age are bounded; the server holds the rest."""
    pool = denizen.db.engine.pool
    assert (pool.size(), pool._max_overflow, pool._timeout) == (15, 0, 2)  # type: ignore[attr-defined]
    assert pool._recycle == 1800

    async with denizen.db.make_connection() as connection:
        held = {}
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            held[name] = (await connection.exec_driver_sql(f"SHOW {name}")).scalar()

    assert held == {
        "statement_timeout": "4s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "10s",
    }


@pytest.mark.sketch(23)
async def test_row_23_unconfirmed_address_opens_no_session(admin: Api, anonymous: Api) -> None:
    """An account is unconfirmed unless somebody says otherwise, and can't be signed in to."""
    body = {"email": "somebody.else@example.com", "username": "eve", "password": PASSWORD}

    made = await admin.post("/v1/users", json=body)
    answer = await anonymous.post(
        "/v1/sessions", json={"email": body["email"], "password": PASSWORD}
    )

    assert made.json()["email_verified"] is False
    assert answer.status_code == 401


@pytest.mark.sketch(24)
async def test_row_24_duplicate_is_409_and_told_to_admins_alone(
    admin: Api, anonymous: Api, denizen: Denizen[UserModel]
) -> None:
    """An admin learns which field is taken; whoever is not signed in learns nothing."""
    user = await a_user(denizen)
    body = {"email": user.email, "username": "another"}

    assert (await admin.post("/v1/users", json=body)).status_code == 409
    known = await anonymous.post("/v1/users", json=body)
    unknown = await anonymous.post("/v1/users", json=body | {"email": "nobody@example.com"})
    assert known.status_code == 401
    assert known.content == unknown.content


def test_columns_of_the_user_are_those_of_the_contract() -> None:
    """The model holds these columns and no other."""
    assert set(inspect(UserModel).column_attrs.keys()) == {
        "id", "email", "email_key", "username", "username_key", "hashed_password", "role",
        "locale", "is_active", "email_verified_at", "erase_after", "created_at", "updated_at",
        "version",
    }  # fmt: skip
