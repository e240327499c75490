"""`examples/host_app`: denizen inside somebody else's application, base, engine and transaction."""

from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import timedelta

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException
from host_app.app import create_app
from host_app.models import Base, Company, Member, Post
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from denizen import DBSessionManager, Denizen, UserMixin
from denizen.db.model import table_of
from denizen.db.testing import Databases
from denizen.errors import ThrottledError
from denizen.settings import Settings
from denizen.tables import Tables
from denizen.throttle.model import Limit
from denizen.throttle.queries import clear, purge, spend
from support import PASSWORD, Api

ANN = {"email": "ann@example.com", "username": "ann", "password": PASSWORD, "email_verified": True}


@pytest.fixture
async def engine(databases: Databases) -> AsyncIterator[AsyncEngine]:
    """Give the host's engine, as the host would make it."""
    url = databases.owner_url.replace("postgresql://", "postgresql+asyncpg://")
    found = create_async_engine(url)
    yield found
    await found.dispose()


@pytest.fixture
async def host(engine: AsyncEngine) -> AsyncIterator[FastAPI]:
    """Give the host's app with its tables made by the host's own metadata."""
    app = create_app(engine)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def api(host: FastAPI) -> AsyncIterator[Api]:
    """Give a client of the host."""
    transport = httpx.ASGITransport(app=host, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://host.test") as client:
        yield Api(client)


async def _signed_in(api: Api) -> Api:
    body = {"name": "Acme", "nickname": "annie", "member": ANN}
    assert (await api.post("/companies", json=body)).status_code == 201
    credentials = {"email": ANN["email"], "password": PASSWORD}
    answer = await api.post("/auth/v1/sessions", json=credentials)
    assert answer.status_code == 201, answer.text
    return Api(api.client, answer.json()["token"])


def test_class_alone_brings_the_tables_of_a_users_things() -> None:
    """A host's migrations import its models and not its app: the metadata is whole by then."""

    class Guests(DeclarativeBase):
        pass

    class Guest(UserMixin, Guests, kw_only=True, eq=False):
        __tablename__ = "guests"

    names = {table.name for table in Guest.metadata.tables.values()}
    ours = {getattr(Tables.of(table_of(Guest)), f.name).name for f in fields(Tables)}
    assert names == {"guests"} | ours
    assert all(name.startswith("guests_") for name in ours)


async def test_member_signs_in_and_the_host_sees_its_own_columns(api: Api) -> None:
    """`current_user` is the host's class, with the host's columns."""
    ann = await _signed_in(api)

    profile = (await ann.get("/profile")).json()

    assert (profile["username"], profile["nickname"]) == ("ann", "annie")
    assert (await ann.get("/auth/v1/me")).json()["email"] == "ann@example.com"


async def test_routes_of_the_host_answer_our_errors(api: Api) -> None:
    """A host route that needs a user answers our 401; the host's own 422 stays FastAPI's."""
    refused = await api.get("/profile")
    own = await api.post("/companies", json={})

    assert (refused.status_code, refused.json()["code"]) == (401, "not_signed_in")
    assert "WWW-Authenticate" in refused.headers
    assert own.status_code == 422
    assert "detail" in own.json()
    assert "code" not in own.json()


async def test_refused_scenario_rolls_the_host_back(api: Api, engine: AsyncEngine) -> None:
    """When the member can't be created, the company isn't either; the answer names the fields."""
    await _signed_in(api)

    body = {"name": "Other", "nickname": "x", "member": ANN | {"username": "ANN"}}
    answer = await api.post("/companies", json=body)

    assert answer.status_code == 409
    assert [e["field"] for e in answer.json()["errors"]] == ["email", "username"]
    async with async_sessionmaker(engine)() as db:
        assert (await db.scalars(select(Company.name))).all() == ["Acme"]


async def test_detached_user_is_updated_and_never_inserted(api: Api, engine: AsyncEngine) -> None:
    """Pointing a relationship at the current user writes the post and leaves one member."""
    ann = await _signed_in(api)

    answers = [await ann.post("/posts", json={"text": text}) for text in ("one", "two")]

    assert [answer.status_code for answer in answers] == [201, 201]
    async with async_sessionmaker(engine)() as db:
        assert await db.scalar(select(func.count()).select_from(Member)) == 1
        assert await db.scalar(select(func.count()).select_from(Post)) == 2


async def test_changed_detached_user_is_written_with_its_version(
    host: FastAPI, api: Api, engine: AsyncEngine
) -> None:
    """What the host changes on a detached user becomes an UPDATE that counts the version."""
    ann = await _signed_in(api)
    assert ann.token is not None
    denizen: Denizen[Member] = Denizen(engine=engine, user_model=Member)
    await denizen.start()
    member = await denizen.sessions.require_user(ann.token)

    async with async_sessionmaker(engine, expire_on_commit=False).begin() as db:
        db.add(member)
        member.nickname = "anna"

    async with async_sessionmaker(engine)() as db:
        stored = await db.get_one(Member, member.id)
        assert (stored.nickname, stored.version) == ("anna", member.version)
    await denizen.stop()


async def test_limits_are_held_in_the_hosts_own_table(host: FastAPI, engine: AsyncEngine) -> None:
    """The host's metadata makes the table; no function, no trigger, no role of ours is needed."""
    throttles = Tables.of(table_of(Member)).throttles
    limit = Limit("two", 2, timedelta(hours=1))
    manager = DBSessionManager(engine)
    manager.init()

    async def once() -> None:
        await manager.run(lambda db: spend(db, throttles, [(limit, "a")], timedelta(0)))

    await once()
    await once()
    with pytest.raises(ThrottledError):
        await once()
    await manager.run(lambda db: clear(db, throttles, [(limit, "a")]))
    await once()

    assert throttles.name == "members_throttles"
    assert await manager.run(lambda db: purge(db, throttles, timedelta(hours=2))) == 1


async def test_mount_leaves_the_host_engine_open(engine: AsyncEngine) -> None:
    """Stopping denizen does not close what the host owns."""
    denizen: Denizen[Member] = Denizen(engine=engine, user_model=Member)
    await denizen.start()
    await denizen.stop()

    async with engine.connect() as connection:
        assert await connection.scalar(select(1)) == 1


async def test_what_the_host_asks_of_every_request_is_asked_of_ours(engine: AsyncEngine) -> None:
    """Dependencies of the host's app hold on each of our routes, the hot one included."""

    def closed() -> None:
        raise HTTPException(503)

    app = FastAPI(dependencies=[Depends(closed)])
    denizen: Denizen[Member] = Denizen(engine=engine, user_model=Member)
    denizen.install(app, prefix="/auth")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://host.test") as client:
        answers = [await client.get(f"/auth/v1/{path}") for path in ("me", "users")]

    assert [answer.status_code for answer in answers] == [503, 503]


@pytest.mark.parametrize("prefix", ["/", "auth", "/auth/"])
def test_prefix_that_no_path_can_have_is_refused(prefix: str, settings: Settings) -> None:
    """Not installed where nobody finds it."""
    app = FastAPI()
    before = list(app.router.routes)

    with pytest.raises(ValueError, match="prefix"):
        Denizen(settings=settings).install(app, prefix)

    assert app.router.routes == before
