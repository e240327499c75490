"""The outbox and its worker: nothing lost, nothing twice, and no request that waits for mail."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from denizen.app import Denizen
from denizen.db.errors import DataError
from denizen.db.testing import Databases, superuser
from denizen.mail.errors import PermanentMailError, TemporaryMailError
from denizen.mail.sender import LEASE
from denizen.settings import Settings
from denizen.tally import MailOutcome
from denizen.users.model import UserModel
from denizen.users.schemas import CreateUser
from mailserver import Mailbox
from post import Letter, Post
from processes import environment, free_port
from support import PASSWORD, Api, StatementCounter, a_user

NEW_PASSWORD = "another long passphrase 78"


class Carrier:
    """A transport that takes mails, or fails as it is told."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.failure: Exception | None = None
        self.fails_for: Callable[[EmailMessage], bool] = lambda _message: True

    async def send(self, message: EmailMessage) -> None:
        """Take it, or raise."""
        if self.failure is not None and self.fails_for(message):
            raise self.failure
        self.taken.append(message)

    def to(self, address: str) -> list[Letter]:
        """Give what somebody got."""
        return [Letter.read(one) for one in self.taken if one["To"] == address]


@asynccontextmanager
async def _a_denizen(settings: Settings, **more: Any) -> AsyncIterator[Denizen[UserModel]]:
    denizen: Denizen[UserModel] = Denizen(settings=settings, **more)
    await denizen.start()
    try:
        yield denizen
    finally:
        await denizen.stop()


@pytest.fixture
def carrier() -> Carrier:
    """Give what carries the mails of `sending`."""
    return Carrier()


@pytest.fixture
async def sending(settings: Settings, carrier: Carrier) -> AsyncIterator[Denizen[UserModel]]:
    """Give a service whose mails the carrier takes."""
    async with _a_denizen(settings, transport=carrier) as denizen:
        yield denizen


async def _rows(databases: Databases) -> list[Any]:
    async with superuser(databases.superuser_url) as watcher:
        return list(await watcher.fetch("SELECT * FROM outbox ORDER BY id"))


async def _deliver(denizen: Denizen[UserModel]) -> None:
    while await denizen.mail.send_due():
        pass


async def _invite(denizen: Denizen[UserModel], name: str) -> UserModel:
    payload = CreateUser(email=f"{name}@example.com", username=name)
    return await denizen.users.create_user(payload)


async def test_f38_failed_mail_is_tried_again_later_and_later(
    sending: Denizen[UserModel], carrier: Carrier, databases: Databases
) -> None:
    """Pauses double up to an hour; then it goes out, once, under the id that it always had."""
    await _invite(sending, "ann")
    carrier.failure = TemporaryMailError("the mail server is out of reach")
    pauses = []
    for _ in range(12):
        await _deliver(sending)
        async with superuser(databases.superuser_url) as watcher:
            pause = await watcher.fetchval("SELECT next_try_at - now() FROM outbox")
        pauses.append(round((pause - sending.clock.skew).total_seconds()))
        sending.clock.skew += timedelta(seconds=pauses[-1] + 1)
    (row,) = await _rows(databases)
    carrier.failure = None
    await _deliver(sending)

    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    assert row["error"] == "the mail server is out of reach"
    assert len(carrier.to("ann@example.com")) == 1
    assert str(row["id"]) in carrier.taken[0]["Message-ID"]
    assert await sending.mail.send_due() == 0


async def test_mail_is_given_up_after_a_day(
    sending: Denizen[UserModel], carrier: Carrier, databases: Databases
) -> None:
    """Nobody tries it any more, the reason is kept, and after a month it is forgotten."""
    await _invite(sending, "ann")
    carrier.failure = TemporaryMailError("the mail server took too long")
    sending.clock.skew = timedelta(hours=23, minutes=50)
    await _deliver(sending)
    assert (await _rows(databases))[0]["next_try_at"] is not None
    sending.clock.skew = timedelta(hours=24)
    await _deliver(sending)
    (row,) = await _rows(databases)
    assert (row["next_try_at"], row["sent_at"]) == (None, None)
    assert row["error"] == "the mail server took too long"
    carrier.failure = None
    sending.clock.skew = timedelta(days=31)
    assert await sending.mail.send_due() == 0
    await sending.housekeeper.clean_up()
    assert await _rows(databases) == []


async def test_permanent_refusal_is_final_at_once(
    sending: Denizen[UserModel], carrier: Carrier, databases: Databases
) -> None:
    """One try; the others of the batch are sent."""
    await _invite(sending, "ann")
    await _invite(sending, "ben")
    carrier.failure = PermanentMailError("the mail server refused the recipient (550)")
    carrier.fails_for = lambda message: message["To"] == "ann@example.com"
    await _deliver(sending)

    ann, ben = await _rows(databases)
    assert (ann["next_try_at"], ann["attempts"], ann["sent_at"]) == (None, 1, None)
    assert ben["sent_at"] is not None
    assert len(carrier.to("ben@example.com")) == 1


POISON = {
    "a kind that is not known": "kind = 'nonsense'",
    "a language that is not known": "locale = 'xx'",
    "facts of another shape": "facts = '[1]'",
    "facts of another type": "facts = '{\"address\": 5}', kind = 'password_changed'",
    "nobody's": "email = NULL, email_key = NULL, user_id = NULL",
    "no address": "kind = 'registration', user_id = NULL, email = 'x'",
}


@pytest.mark.parametrize("change", POISON.values(), ids=POISON)
async def test_poison_row_does_not_stop_the_others(
    sending: Denizen[UserModel], carrier: Carrier, databases: Databases, change: str
) -> None:
    """A row that can't be made a mail of is put off or given up; the one beside it is sent."""
    await _invite(sending, "ann")
    await databases.run(f"UPDATE outbox SET {change}")
    await databases.run("UPDATE users SET locale = 'en'")
    await _invite(sending, "ben")

    async with asyncio.timeout(5):
        await _deliver(sending)

    poison, sound = await _rows(databases)
    assert sound["sent_at"] is not None
    assert len(carrier.to("ben@example.com")) == 1
    is_over = poison["next_try_at"] is None
    assert is_over or poison["next_try_at"] > poison["created_at"] + timedelta(seconds=5)


async def test_user_whose_language_is_not_known_does_not_stop_the_others(
    sending: Denizen[UserModel], carrier: Carrier, databases: Databases
) -> None:
    """As a host or an import may have written it."""
    await _invite(sending, "ann")
    await databases.run("UPDATE users SET locale = 'xx'")
    await _invite(sending, "ben")

    async with asyncio.timeout(5):
        await _deliver(sending)

    assert len(carrier.to("ben@example.com")) == 1


async def test_broken_template_stops_its_own_kind_alone(
    settings: Settings, carrier: Carrier, databases: Databases, tmp_path: Path
) -> None:
    """A template of the operator's that broke while serving: put off, and mended, sent."""
    templates = tmp_path / "templates"
    templates.mkdir()
    settings = settings.model_copy(update={"mail_templates": templates})
    async with _a_denizen(settings, transport=carrier) as denizen:
        await _invite(denizen, "ann")
        await denizen.registrations.request("ben@example.com", "en")
        render = denizen.mail._renderer.render

        def broken(mail: Any) -> EmailMessage:
            if mail.kind == "invitation":
                raise ZeroDivisionError
            return render(mail)

        denizen.mail._renderer.render = broken  # type: ignore[method-assign]
        await _deliver(denizen)
        rows = await _rows(databases)
        denizen.mail._renderer.render = render  # type: ignore[method-assign]
        denizen.clock.skew = timedelta(seconds=11)
        await _deliver(denizen)

    assert [row["error"] for row in rows] == ["ZeroDivisionError", None]
    assert len(carrier.to("ben@example.com")) == 1
    assert len(carrier.to("ann@example.com")) == 1


async def test_two_workers_send_each_mail_once(
    settings: Settings, sending: Denizen[UserModel], carrier: Carrier
) -> None:
    """Forty mails, two workers at the same time, batch by batch: forty mails."""
    for number in range(40):
        await sending.registrations.request(f"u{number}@example.com", "en")
    async with _a_denizen(settings, transport=carrier) as second:
        await asyncio.gather(*(_deliver(one) for one in (sending, second)))

    addresses = [message["To"] for message in carrier.taken]
    assert sorted(addresses) == sorted({f"u{number}@example.com" for number in range(40)})


async def test_t_tx_1_without_its_mail_nothing_happens(
    admin: Api, anonymous: Api, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """The outbox refuses: no user, no new password, no deletion, no address, no session ended."""
    user = await a_user(denizen, password=PASSWORD)
    ann = await anonymous.signed_in(user.email, PASSWORD)
    async with superuser(databases.superuser_url) as watcher:
        await watcher.execute("ALTER TABLE outbox ADD CONSTRAINT none CHECK (false) NOT VALID")
        before = await watcher.fetch("SELECT users::text FROM users ORDER BY id")
        new = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        answers = [
            await admin.post("/v1/users", json={"email": "x@example.com", "username": "x"}),
            await admin.patch(f"/v1/users/{user.id}", json={"email": "y@example.com"}),
            await admin.delete(f"/v1/users/{user.id}"),
            await ann.put("/v1/me/password", json=new),
            await ann.post("/v1/me/deletion", json={"password": PASSWORD}),
        ]
        after = await watcher.fetch("SELECT users::text FROM users ORDER BY id")
        events = await watcher.fetchval(
            "SELECT count(*) FROM audit_events WHERE action <> 'session.started'"
        )

    assert {answer.status_code for answer in answers} == {409}, answers
    assert after == before
    assert events == 0
    assert (await ann.get("/v1/me")).status_code == 200


async def test_t_tx_1_mail_of_what_was_rolled_back_is_not_sent(
    sending: Denizen[UserModel], carrier: Carrier
) -> None:
    """In a host's own transaction, which ends in an error."""
    with pytest.raises(RuntimeError):
        async with sending.db.get_session() as db:
            payload = CreateUser(email="ann@example.com", username="ann")
            await sending.users.create_user(payload, db=db)
            raise RuntimeError

    await _deliver(sending)
    assert carrier.taken == []


FORMS = ["/v1/registrations", "/v1/password-resets", "/v1/email-verifications"]


@pytest.mark.parametrize("path", FORMS)
async def test_t_rst_4_forms_say_the_same_to_the_database_whoever_is_asked_for(
    anonymous: Api,
    denizen: Denizen[UserModel],
    statements: StatementCounter,
    post: Post,
    path: str,
) -> None:
    """Known, unconfirmed, leaving, unknown: the same statements; nobody unknown gets a link."""
    await a_user(denizen, email="known@example.com")
    await a_user(denizen, email="new@example.com", verified=False)
    leaving = await a_user(denizen, email="leaving@example.com")
    await denizen.users.delete_user(leaving.id)
    await post.all_to(leaving.email)
    heard, answers = [], []
    for name in ("known", "new", "leaving", "unknown"):
        async with statements.listening() as one:
            answers.append(await anonymous.post(path, json={"email": f"{name}@example.com"}))
        heard.append(list(one))

    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b"")}
    assert [one == heard[0] for one in heard] == [True] * 4
    sent = {name: len(await post.all_to(f"{name}@example.com")) for name in ("unknown", "leaving")}
    is_open = path == FORMS[0]
    assert sent == {"unknown": int(is_open), "leaving": int(is_open)}


async def test_f38_no_request_notices_a_mail_server_that_hangs(
    settings: Settings, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a mail waits for the server, forms are answered and no connection is held."""
    monkeypatch.setenv("SSL_CERT_FILE", str(mailbox.authority))
    update = {
        "mail_url": SecretStr(mailbox.url),
        "database_pool_size": 1,
    }
    mailbox.delay = 30
    async with _a_denizen(settings.model_copy(update=update)) as denizen, denizen.working():
        await denizen.registrations.request("ann@example.com", "en")
        async with asyncio.timeout(10):
            while not mailbox.logins:  # noqa: ASYNC110  # a thread of its own
                await asyncio.sleep(0.01)
        began = time.monotonic()
        for number in range(5):
            await denizen.registrations.request(f"u{number}@example.com", "en")
            assert denizen.db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        took = time.monotonic() - began
        ended = time.monotonic()
    assert took < 5
    assert time.monotonic() - ended < 5  # nor does the end of the service


async def test_f38_server_that_is_down_and_back_gets_the_mail(
    settings: Settings, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, databases: Databases
) -> None:
    """A port that nobody listens on, a server that refuses, one that takes it: one mail."""
    monkeypatch.setenv("SSL_CERT_FILE", str(mailbox.authority))
    down = settings.model_copy(
        update={"mail_url": SecretStr(f"smtp://127.0.0.1:{free_port()}?starttls=require")}
    )
    up = settings.model_copy(update={"mail_url": SecretStr(mailbox.url)})
    async with _a_denizen(down) as denizen:
        await denizen.registrations.request("ann@example.com", "ru")
        await _deliver(denizen)
    async with _a_denizen(up) as denizen:
        mailbox.answers["RCPT"] = "451 4.7.1 greylisted"
        denizen.clock.skew = timedelta(minutes=1)
        await _deliver(denizen)
        errors = [row["error"] for row in await _rows(databases)]
        mailbox.answers.clear()
        denizen.clock.skew = timedelta(minutes=2)
        await _deliver(denizen)

    assert errors == ["the mail server refused the recipient (451)"]
    (mail,) = mailbox.received
    assert (mail.recipients, mail.is_encrypted) == (["ann@example.com"], True)
    assert "ann@example.com" not in str(errors)


async def test_sent_mail_leaves_no_address_behind(
    sending: Denizen[UserModel], databases: Databases
) -> None:
    """That it was sent is known for a month, whom it went to is not."""
    await sending.registrations.request("ann@example.com", "en")
    await _deliver(sending)

    (row,) = await _rows(databases)
    assert row["sent_at"] is not None
    assert "ann" not in str(row)


_KILLED = """
import asyncio, os, signal, sys
from denizen.app import Denizen
from denizen.mail.transport import SmtpTransport
from denizen.settings import Settings

settings = Settings.load(_env_file=None)

class Fatal:
    async def send(self, message):
        await SmtpTransport(settings.mail_server, settings.sender).send(message)
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    denizen = Denizen(settings=settings, transport=Fatal())
    await denizen.start()
    await denizen.mail.send_due()

asyncio.run(main())
"""


async def test_f39_worker_killed_between_sending_and_noting_repeats_at_most_once(
    anonymous: Api,
    denizen: Denizen[UserModel],
    settings: Settings,
    *,
    databases: Databases,
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the lease one repeat with the same Message-ID; of the two links one works, once."""
    user = await a_user(denizen, password=PASSWORD)
    await anonymous.post("/v1/password-resets", json={"email": user.email})
    variables = {
        "DENIZEN_DATABASE_URL": databases.app_url,
        "DENIZEN_MAIL_URL": mailbox.url,
        "SSL_CERT_FILE": str(mailbox.authority),
    }
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _KILLED],
        env=environment(**variables),
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    monkeypatch.setenv("SSL_CERT_FILE", str(mailbox.authority))
    up = settings.model_copy(update={"mail_url": SecretStr(mailbox.url)})
    async with _a_denizen(up) as worker:
        worker.clock.skew = LEASE - timedelta(seconds=30)
        await _deliver(worker)
        assert len(mailbox.received) == 1
        worker.clock.skew = LEASE + timedelta(seconds=1)
        await _deliver(worker)
        worker.clock.skew = timedelta(days=2)
        await _deliver(worker)

    letters = [Letter.read(message) for message in mailbox.to(user.email)]
    assert len(letters) == 2
    assert len({letter.message["Message-ID"] for letter in letters}) == 1
    bodies = [{"token": one.token, "password": NEW_PASSWORD} for one in letters]
    answers = [await anonymous.post("/v1/password-resets/confirm", json=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [204, 400]


async def test_worker_outlives_a_database_that_goes_away(
    settings: Settings, carrier: Carrier, databases: Databases
) -> None:
    """The outbox can't be read, then it can: the mail goes out without anybody's help."""
    async with _a_denizen(settings, transport=carrier) as denizen, denizen.working():
        await databases.run("ALTER TABLE outbox RENAME TO gone")
        await asyncio.sleep(0.8)
        await databases.run("ALTER TABLE gone RENAME TO outbox")
        await denizen.registrations.request("ann@example.com", "en")
        async with asyncio.timeout(10):
            while not carrier.taken:  # noqa: ASYNC110  # a worker of the same loop
                await asyncio.sleep(0.02)


async def test_mail_whose_sending_can_not_be_noted_takes_nobody_along(
    sending: Denizen[UserModel], carrier: Carrier, databases: Databases
) -> None:
    """One row's mark fails: the others of the batch are marked, before the batch is over."""
    for name in ("ann", "ben", "cat"):
        await _invite(sending, name)
    note = sending.mail._note
    (first, *_) = await _rows(databases)

    async def failing(db: Any, due: Any, failure: Any) -> MailOutcome:
        if due.row.id == first["id"]:
            raise DataError
        await asyncio.sleep(0.2)
        return await note(db, due, failure)

    sending.mail._note = failing  # type: ignore[method-assign]
    with pytest.raises(DataError):
        await sending.mail.send_due()

    assert [row["sent_at"] is not None for row in await _rows(databases)] == [False, True, True]
