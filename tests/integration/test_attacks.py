"""What somebody may try who knows a password, holds a session, or only guesses; and what breaks."""

import asyncio
import contextlib
import itertools
import re
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import asyncpg
import pytest
from sqlalchemy import ForeignKey, event, insert, select, text, update
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from denizen import Denizen, UserMixin
from denizen.audit.model import Actor
from denizen.cli.running import Urls
from denizen.cli.serve import _first_admin
from denizen.db.model import table_of
from denizen.db.testing import Databases, superuser
from denizen.errors import (
    NotFoundError,
    PasswordWrongError,
    SignInFailedError,
    ThrottledError,
    TokenInvalidError,
)
from denizen.mail.errors import TemporaryMailError
from denizen.passwords import check
from denizen.passwords.queue import FairQueue, Place
from denizen.settings import Settings
from denizen.tables import Tables
from denizen.throttle.model import SIGN_IN_SITE
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from support import PASSWORD, Api, a_user

NEW = "another long passphrase 78"
A, B, C = "ann@first.example", "ann@second.example", "ann@third.example"
Service = Denizen[UserModel]


@dataclass
class Post:
    """A transport that keeps what is sent, but to addresses whose server is busy."""

    busy: set[str] = field(default_factory=set)
    kept: list[tuple[str, str]] = field(default_factory=list)

    async def send(self, message: EmailMessage) -> None:
        """Keep the address and the first token of a message."""
        to = str(message["To"])
        if to in self.busy:
            raise TemporaryMailError("the mail server is busy")
        body = message.get_body(("plain",))
        assert body is not None
        found = re.search(r"token=([\w-]+)", body.get_content())
        self.kept.append((to, found[1] if found else ""))

    def tokens(self, to: str) -> list[str]:
        """Give the tokens of all mails to an address, the latest last."""
        return [token for address, token in self.kept if address == to]


@pytest.fixture
def post() -> Post:
    """Give the transport."""
    return Post()


@pytest.fixture
async def service(settings: Settings, post: Post) -> AsyncIterator[Service]:
    """Give the part with that transport, open for work."""
    found: Service = Denizen(settings=settings, transport=post)
    await found.start()
    yield found
    await found.stop()


def _from(address: str) -> Actor:
    return Actor("anonymous", None, address, "test")


async def _send_all(service: Service) -> None:
    while await service.mail.send_due():
        pass


async def _events(service: Service, user_id: uuid.UUID) -> list[str]:
    return [one.action for one in await service.audit.list_events(user_id=user_id)]


async def test_undo_of_a_later_change_leaves_the_notice_to_the_first_address(
    service: Service, post: Post
) -> None:
    """Who moved an account twice and undoes the second move takes no mail to the owner back."""
    ann = await a_user(service, email=A, password=PASSWORD)
    post.busy = {A}
    await service.emails.request_change(ann.id, B, PASSWORD)
    await _send_all(service)
    await service.emails.confirm_change(post.tokens(B)[-1])
    await service.emails.request_change(ann.id, C, PASSWORD)
    await _send_all(service)
    await service.emails.undo_change(post.tokens(B)[-1])

    post.busy = set()
    service.clock.skew = timedelta(hours=2)
    await _send_all(service)
    await service.emails.undo_change(post.tokens(A)[-1])

    assert (await service.users.get_user(ann.id)).email == A


async def test_undo_takes_back_the_notices_of_later_changes(service: Service, post: Post) -> None:
    """Who undoes the first change leaves no way back to the second one's address, sent or not."""
    ann = await a_user(service, email=A, password=PASSWORD)
    await service.emails.request_change(ann.id, B, PASSWORD)
    await _send_all(service)
    await service.emails.confirm_change(post.tokens(B)[-1])
    post.busy = {B}
    await service.emails.request_change(ann.id, C, PASSWORD)
    await _send_all(service)
    before = len(post.tokens(B))

    await service.emails.undo_change(post.tokens(A)[-1])
    post.busy = set()
    service.clock.skew = timedelta(hours=2)
    await _send_all(service)

    assert len(post.tokens(B)) == before


async def test_undo_that_stops_a_deletion_is_recorded_as_that(service: Service, post: Post) -> None:
    """The audit tells that the person stays, and not only that the address is back."""
    ann = await a_user(service, email=A, password=PASSWORD)
    await service.emails.request_change(ann.id, B, PASSWORD)
    await _send_all(service)
    await service.account.request_deletion(ann.id, PASSWORD)

    await service.emails.undo_change(post.tokens(A)[-1])

    assert "user.deletion_undone" in await _events(service, ann.id)


@pytest.mark.parametrize("change", ["password", "disable"])
async def test_queued_link_of_an_undo_is_void_like_every_other(
    service: Service, post: Post, change: str
) -> None:
    """T-RST-9: the reset link that follows an undo is no exception."""
    ann = await a_user(service, email=A, password=PASSWORD)
    await service.emails.request_change(ann.id, B, PASSWORD)
    await _send_all(service)
    await service.emails.undo_change(post.tokens(A)[-1])
    if change == "password":
        await service.passwords.change_password(ann.id, PASSWORD, NEW)
    else:
        await service.users.update_user(ann.id, UpdateUser(is_active=False))
        await service.users.update_user(ann.id, UpdateUser(is_active=True))
    post.kept.clear()

    await _send_all(service)

    for token in filter(None, post.tokens(A)):
        with pytest.raises(TokenInvalidError):
            await service.passwords.confirm_reset(token, "a third long passphrase 79")


async def test_reset_link_to_an_address_given_up_is_dead(service: Service, post: Post) -> None:
    """A link that a worker was making while the address changed opens nothing."""
    ann = await a_user(service, email=A, password=PASSWORD)
    await service.passwords.request_reset(A, "en")
    await _send_all(service)
    users = table_of(UserModel)
    async with service.db.get_session() as db:  # as if the worker had been between
        await db.execute(update(users).where(users.c.id == ann.id).values(email=B, email_key=B))

    with pytest.raises(TokenInvalidError):
        await service.passwords.confirm_reset(post.tokens(A)[-1], NEW)


@pytest.mark.parametrize("act", ["email", "deletion"])
async def test_reset_during_an_act_with_the_old_password_wins(
    service: Service, post: Post, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """A password that was right when it was checked changes nothing once it is replaced."""
    ann = await a_user(service, email=A, password=PASSWORD)
    await service.passwords.request_reset(A, "en")
    await _send_all(service)
    verify = service.hasher.verify

    async def verify_slowly(stored: str | None, password: str, *, place: Place) -> bool:
        found = await verify(stored, password, place=place)
        await service.passwords.confirm_reset(post.tokens(A)[-1], NEW)
        return found

    monkeypatch.setattr(service.hasher, "verify", verify_slowly)

    with pytest.raises(PasswordWrongError):
        if act == "email":
            await service.emails.request_change(ann.id, B, PASSWORD)
        else:
            await service.account.request_deletion(ann.id, PASSWORD)
    await _send_all(service)

    assert post.tokens(B) == []
    assert (await service.users.get_user(ann.id)).erase_after is None


async def test_stolen_session_guesses_a_hundred_passwords_from_wherever(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NIST 3.2.2 holds for whoever is signed in, too: networks are cheap."""
    ann = await a_user(service, email=A, password=PASSWORD)
    hashed = 0

    async def wrong(*_: object, place: Place) -> bool:
        nonlocal hashed
        hashed += 1
        return False

    monkeypatch.setattr(service.hasher, "verify", wrong)

    for number in range(120):
        actor = Actor("user", ann.id, f"2001:db8:{number // 5:x}::1", "test")
        with pytest.raises(PasswordWrongError):
            await service.passwords.change_password(ann.id, "x", NEW, actor=actor)

    assert hashed == 100


async def test_t_log_2_wrong_password_of_whoever_is_signed_in_is_recorded(
    service: Service,
) -> None:
    """Guessing with a stolen session leaves a trace, as guessing at the door does."""
    ann = await a_user(service, email=A, password=PASSWORD)

    with pytest.raises(PasswordWrongError):
        await service.emails.request_change(ann.id, B, "not the password", actor=_from("192.0.2.1"))

    [refused] = await service.audit.list_events(user_id=ann.id)
    assert (refused.action, refused.address) == ("password.refused", "192.0.2.1")


async def test_tries_at_an_exhausted_account_are_paid_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who knocks on a shut door is told to wait, and fills no log."""

    async def wrong(*_: object, place: Place) -> bool:
        return False

    monkeypatch.setattr(service.hasher, "verify", wrong)
    for number in range(100):
        with pytest.raises(SignInFailedError):
            await service.sessions.sign_in(A, "x", actor=_from(f"192.0.2.{number // 5}"))

    told = []
    for _ in range(15):
        try:
            await service.sessions.sign_in(A, "x", actor=_from("198.51.100.1"))
        except (SignInFailedError, ThrottledError) as error:
            told.append(type(error))

    assert told == [SignInFailedError] * 10 + [ThrottledError] * 5


async def test_exhausted_account_answers_no_sooner_than_a_hash_would(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else time would tell whether somebody signs in from there: then a hash is computed."""
    await a_user(service, email=A, password=PASSWORD)
    monkeypatch.setattr(FairQueue, "wait", 0.3)
    for number in range(10):
        for _ in range(10):
            with contextlib.suppress(SignInFailedError):
                await service.sessions.sign_in(A, "x", actor=_from(f"192.0.2.{number}"))
    before = service.hasher.evaluations

    began = time.monotonic()
    with pytest.raises(SignInFailedError):
        await service.sessions.sign_in(A, "x", actor=_from("198.51.100.1"))

    assert time.monotonic() - began >= 0.3
    assert service.hasher.evaluations == before


async def test_networks_of_one_site_share_a_limit(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A /48 has 65,536 clients; as many tries as ten busy ones may have are taken from them."""
    limit = replace(SIGN_IN_SITE, burst=5, refill=timedelta(hours=1))
    monkeypatch.setattr(check, "SIGN_IN_SITE", limit)
    told = []
    for number in range(8):
        actor = _from(f"2001:db8:1:{number:x}::1")
        try:
            await service.sessions.sign_in(f"a{number}@example.com", "x", actor=actor)
        except (SignInFailedError, ThrottledError) as error:
            told.append(type(error))
    with pytest.raises(SignInFailedError):  # next door
        await service.sessions.sign_in("b@example.com", "x", actor=_from("2001:db8:2:1::1"))

    assert told == [SignInFailedError] * 5 + [ThrottledError] * 3


async def test_thief_with_the_password_does_not_void_every_link_of_the_owner(
    service: Service, post: Post
) -> None:
    """A change of the password voids the links to reset it: so there are not many in a row."""
    ann = await a_user(service, email=A, password=PASSWORD)
    passwords = [PASSWORD, *(f"a passphrase of a thief {number}" for number in range(12))]
    changes = 0
    with pytest.raises(ThrottledError):
        for old, new in itertools.pairwise(passwords):
            await service.passwords.change_password(ann.id, old, new, actor=_from("192.0.2.1"))
            changes += 1
    await service.passwords.request_reset(A, "en")
    with pytest.raises(ThrottledError):
        old = passwords[changes]
        await service.passwords.change_password(ann.id, old, NEW, actor=_from("192.0.2.2"))

    await _send_all(service)
    await service.passwords.confirm_reset(post.tokens(A)[-1], "the owner's own words 77")

    assert changes == 10
    await service.sessions.sign_in(A, "the owner's own words 77")


async def test_forms_for_a_full_mailbox_are_paid_for(service: Service) -> None:
    """The limit of a network holds, whatever the address says."""
    with pytest.raises(ThrottledError):
        for _ in range(70):
            await service.passwords.request_reset(A, "en", actor=_from("198.51.100.1"))


async def test_registration_link_of_an_address_with_an_account_costs_no_hash(
    service: Service, post: Post
) -> None:
    """A link that can't work any more is no way to keep the hasher busy."""
    await service.registrations.request(B, "en")
    await _send_all(service)
    await a_user(service, email=B)
    before = service.hasher.evaluations

    with pytest.raises(TokenInvalidError):
        await service.registrations.confirm(post.tokens(B)[-1], "ann", PASSWORD)

    assert service.hasher.evaluations == before


async def test_mail_that_can_not_be_made_stops_no_other(service: Service, post: Post) -> None:
    """A row of a later program, or of a defect, is put off; the rest of the batch goes."""
    await service.registrations.request(A, "en")
    outbox = Tables.of(table_of(UserModel)).outbox
    values = {"id": uuid.uuid4(), "kind": "from_the_future", "email": B, "email_key": B}
    ann = await a_user(service)
    async with service.db.get_session() as db:
        row = values | {"locale": "en", "facts": {}, "user_id": ann.id}
        await db.execute(insert(outbox).values(row))

    await _send_all(service)

    assert len(post.tokens(A)) == 1
    async with service.db.get_session(read_only=True) as db:
        errors = (await db.scalars(select(outbox.c.error).where(outbox.c.email == B))).all()
    assert errors == ["KeyError"]


async def test_admin_who_erases_themselves_under_a_key_is_erased(
    admin: Api, denizen: Service
) -> None:
    """Forgetting what a person has sent leaves the request that is running."""
    await a_user(denizen, role="admin")
    me = (await admin.get("/v1/me")).json()["id"]
    headers = {"Idempotency-Key": "k"}

    answer = await admin.delete(f"/v1/users/{me}", params={"erase": "now"}, headers=headers)

    assert answer.status_code == 204, answer.text
    with pytest.raises(NotFoundError):
        await denizen.users.get_user(uuid.UUID(me))


async def test_body_of_a_delete_is_not_looked_at_under_a_key_either(admin: Api) -> None:
    """A route that takes no body reads none: neither for its size nor for its JSON."""
    headers = {"Idempotency-Key": "k"}
    answer = await admin.send(
        "DELETE", "/v1/me/sessions/current", headers=headers, content=b"{" * 100_000
    )

    assert answer.status_code == 204, answer.text


async def test_serving_role_blanks_nobody_who_is_there(
    service: Service, databases: Databases
) -> None:
    """A temporary table of the same name is not the one that the owner's function means."""
    ann = await a_user(service, email=A, password=PASSWORD)
    await service.sessions.sign_in(A, PASSWORD, actor=_from("192.0.2.1"))

    async with superuser(databases.app_url) as connection:
        try:
            await connection.execute("CREATE TEMP TABLE users (id uuid)")
            await connection.execute("GRANT ALL ON users TO PUBLIC")
        except asyncpg.InsufficientPrivilegeError:
            pass
        await connection.execute("SELECT audit_blank($1)", ann.id)

    [started] = await service.audit.list_events(user_id=ann.id, action="session.started")
    assert started.address == "192.0.2.1"


class Base(DeclarativeBase):
    """A host's base."""


class Guest(UserMixin, Base, kw_only=True, eq=False):
    """A host's user, in a table of the most usual name."""

    __tablename__ = "users"


class Order(Base):
    """Something that keeps its buyer from being deleted."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    buyer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))


@pytest.fixture
async def host(
    databases: Databases, settings: Settings, post: Post
) -> AsyncIterator[Denizen[Guest]]:
    """Give a part in a host whose own metadata made all the tables, in a schema of its own."""
    url = databases.owner_url.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, connect_args={"server_settings": {"search_path": "host"}})
    async with engine.begin() as connection:
        await connection.execute(text("CREATE SCHEMA host"))
        await connection.run_sync(Base.metadata.create_all)
    found: Denizen[Guest] = Denizen(
        engine=engine, user_model=Guest, settings=settings, transport=post
    )
    await found.start()
    yield found
    await found.stop()
    await engine.dispose()


async def test_host_with_a_table_of_users_erases_and_purges(host: Denizen[Guest]) -> None:
    """What the host's metadata makes is enough, whatever the table is called."""
    async with host.db.get_session() as db:
        guest = await Guest.create(db, email=A, username="guest")

    await host.users.delete_user(guest.id, at_once=True)
    await host.housekeeper.clean_up()

    async with host.db.get_session(read_only=True) as db:
        assert (await db.scalars(select(Guest.id))).all() == []


async def test_more_than_a_statement_removes_is_removed(service: Service) -> None:
    """Each purge is bounded, for a statement has seconds, and goes on until all is gone."""
    async with service.db.get_session() as db:
        await db.execute(
            text(
                "INSERT INTO tokens (user_id, token_digest, purpose, request_id, expires_at) SELECT"
                " gen_random_uuid(), 'x', 'registration', gen_random_uuid(), now() - interval '1 s'"
                " FROM generate_series(1, 10001)"
            )
        )
    rows: list[int] = []
    service.clock.skew = timedelta(seconds=1)

    @event.listens_for(service.db.engine.sync_engine, "after_cursor_execute")
    def count(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM tokens"):
            rows.append(cursor.rowcount)

    await service.housekeeper.clean_up()

    assert rows == [10_000, 1]


async def test_admins_are_found_by_an_index(service: Service, databases: Databases) -> None:
    """Whoever deletes their account has no table of all users read."""
    heard = []
    await a_user(service, role="admin")

    @event.listens_for(service.db.engine.sync_engine, "before_cursor_execute")
    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FOR UPDATE" in statement and "role" in statement:
            heard.append((statement, parameters))

    await service.users.update_user((await a_user(service)).id, UpdateUser(is_active=False))

    [(statement, parameters)] = heard
    assert parameters == ()
    async with superuser(databases.superuser_url) as connection:
        await connection.execute("SET enable_seqscan = off")
        plan = [row[0] for row in await connection.fetch(f"EXPLAIN {statement}")]
    assert any("ix_users_admins" in line for line in plan), plan


async def test_user_who_can_not_be_erased_stops_no_other(host: Denizen[Guest]) -> None:
    """A row of the host's that points at one person keeps that person and nobody else."""
    async with host.db.get_session() as db:
        kept = await Guest.create(db, email=A, username="kept")
        gone = await Guest.create(db, email=B, username="gone")
        await db.execute(insert(table_of(Order)).values(id=1, buyer_id=kept.id))
    for guest in (kept, gone):
        await host.users.delete_user(guest.id)
    host.clock.skew = timedelta(days=31)

    await host.housekeeper.clean_up()

    async with host.db.get_session(read_only=True) as db:
        assert (await db.scalars(select(Guest.id))).all() == [kept.id]


def test_first_admin_link_that_can_not_be_written_stops_no_start(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """In a container whose files can't be written the service starts, and says what to do."""
    settings.data_dir.write_text("no folder")
    url = settings.database().url

    said = _first_admin(settings, Urls(url, url, is_embedded=False))

    assert said is None
    assert "users create" in caplog.text


async def test_link_waits_for_its_user_before_it_is_taken(
    service: Service, post: Post, databases: Databases
) -> None:
    """Everything that changes a user locks the user first: nobody waits in a circle."""
    ann = await a_user(service, email=A, password=PASSWORD)
    await service.passwords.request_reset(A, "en")
    await _send_all(service)
    async with superuser(databases.superuser_url) as other, other.transaction():
        await other.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", ann.id)
        reset = asyncio.create_task(service.passwords.confirm_reset(post.tokens(A)[-1], NEW))
        blocked: Any = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not await other.fetchval(blocked):  # noqa: ASYNC110  # it is the database's
            await asyncio.sleep(0.02)
        await other.execute("SET LOCAL lock_timeout = '300ms'")
        await other.execute("DELETE FROM tokens WHERE user_id = $1", ann.id)

    with pytest.raises(TokenInvalidError):
        await reset
