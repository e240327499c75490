"""The console's page on the system: findings, settings without secrets, mails not sent."""

import re
import uuid
from typing import Any

import pytest
from pydantic import SecretStr

from denizen.app import Denizen, create_app
from denizen.audit.model import OPERATOR
from denizen.db.testing import Databases, superuser
from denizen.doctor.examination import examine
from denizen.errors import NotFoundError
from denizen.mail.errors import PermanentMailError
from denizen.mail.message import Kind
from denizen.mail.queries import enqueue, has_due, put_off
from denizen.mail.transport import Transport
from denizen.pages.console.system import SYSTEM
from denizen.settings import Settings
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from post import Post
from support import PASSWORD, StatementCounter, a_user
from webforms import Browser, Form, Page
from xss import EVIL, is_inert

RETRY = f"{SYSTEM}/mails/retry"
TEST = f"{SYSTEM}/mails/test"


class Refusing:
    """A way for mails that none passes."""

    async def send(self, message: Any) -> None:
        """Refuse."""
        raise PermanentMailError("the mail server refused the recipient (550)")


async def _given_up(denizen: Denizen[UserModel], user: UserModel, number: int = 1) -> None:
    """Queue mails to somebody and have each refused for good."""
    for _ in range(number):
        async with denizen.db.get_session() as db:
            outbox = denizen.parts.tables.outbox
            values = {"id": uuid.uuid4(), "kind": "password_changed", "user_id": user.id}
            values |= {"email": user.email, "email_key": user.email_key}
            await db.execute(outbox.insert().values(**values, locale="en", facts={}))
    transport: Transport = denizen.mail._transport
    denizen.mail._transport = Refusing()
    while await denizen.mail.send_due():
        pass
    denizen.mail._transport = transport


def _retries(page: Page) -> dict[str, Any]:
    """Give the form that tries the first listed mail again."""
    ids = re.findall(r'name="id" value="([0-9a-f-]+)"', page.text)
    return {"id": ids[-1]}


async def test_findings_are_the_doctors(console: Browser, denizen: Denizen[UserModel]) -> None:
    """Each with its subject, whether it is well, and its sentence."""
    page = await console.open(SYSTEM)
    findings = await examine(denizen.db, denizen.settings)

    assert len(findings) >= 10
    rows = page.text.count("Well") + page.text.count("Could be better") + page.text.count("To be m")
    assert rows == len(findings)
    assert "no mail server is set" in page.text
    assert "the serving role can&#39;t change the schema" in page.text


async def test_one_role_is_found_without_being_told(
    console: Browser, denizen: Denizen[UserModel], settings: Settings, databases: Databases
) -> None:
    """A worker does not know who migrates: the tables' owner tells."""
    told = settings.model_copy(update={"database_url": SecretStr(databases.owner_url)})
    owning: Denizen[UserModel] = Denizen(settings=told)
    await owning.start()
    try:
        found = {finding.code for finding in await examine(owning.db, told)}
    finally:
        await owning.stop()
    served = {finding.code for finding in await examine(denizen.db, denizen.settings)}

    assert ("one_role" in found, "one_role" in served, "roles" in served) == (True, False, True)


async def test_settings_are_shown_without_their_secrets(
    settings: Settings, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """Value, whether it is the default, meaning; no password of database or mail server."""
    mail = SecretStr("smtps://postman:canary-mail@mail.example.org")
    url = SecretStr(_with_password(databases.owner_url))
    update = {"mail_url": mail, "migrate_url": url, "audit_days": 500}
    app = create_app(settings.model_copy(update=update))
    await app.state.denizen.start()
    browser = Browser.of(app)
    root = await a_user(denizen, role="admin", password=PASSWORD)
    await browser.sign_in(root.email, PASSWORD)
    page = await browser.open(SYSTEM)
    await app.state.denizen.stop()

    for name in Settings.model_fields:
        assert f"DENIZEN_{name.upper()}<" in page.text
    assert "canary" not in page.text
    assert "smtps://postman:********@mail.example.org:465 (TLS)" in page.text
    assert re.search(r"<b>500</b> <span[^>]*>default: 400<", page.text)
    assert re.search(r">60 <span[^>]*>default<", page.text)


def _with_password(url: str) -> str:
    user, _, rest = url.removeprefix("postgresql://").partition("@")
    return f"postgresql://{user}:canary-database@{rest}"


async def test_mail_that_was_given_up_is_tried_again(
    console: Browser, denizen: Denizen[UserModel], post: Post
) -> None:
    """Kind, whose, how often, why; then it is sent, and the audit tells who did it."""
    ann = await a_user(denizen, email="ann@example.com", username="ann")
    await _given_up(denizen, ann)
    page = await console.open(SYSTEM)
    done = await console.send(page.forms[RETRY], **_retries(page))
    letters = await post.all_to("ann@example.com")
    event = (await denizen.audit.list_events(action="mail.retried")).items[0]
    later = await console.open(SYSTEM)

    assert "the mail server refused the recipient (550)" in page.text
    assert f'<a href="/console/users/{ann.id}">ann</a>' in page.text
    assert "ann@example.com" not in page.text
    assert done.said == "1 mail is tried again now."
    assert [letter.subject for letter in letters] == ["Your password was changed"]
    assert (event.user_id, event.after) == (ann.id, {"mails": 1, "kind": ["password_changed"]})
    assert RETRY not in later.forms


@pytest.mark.parametrize("kind", ["email_change", "email_changing", "password_reset"])
async def test_mail_that_was_taken_back_is_never_tried_again(
    denizen: Denizen[UserModel], kind: Kind
) -> None:
    """A link given up by the mail server is void with its request: an admin can't revive it."""
    # who never confirmed an address is told of no change of it: nothing else is in the queue
    ann = await a_user(denizen, email="ann@example.com", password=PASSWORD, verified=False)
    outbox, db = denizen.parts.tables.outbox, denizen.db
    mail_id = await db.run(
        lambda unit: enqueue(
            unit, outbox, kind, "eve@example.com", actor=OPERATOR, locale="en", user_id=ann.id
        )
    )
    await db.run(lambda unit: put_off(unit, outbox, mail_id, error="refused (550)", until=None))
    await denizen.emails.cancel_change(ann.id, actor=OPERATOR)
    await denizen.users.update_user(
        ann.id, UpdateUser(email="ann@example.org", email_verified=True), actor=OPERATOR
    )

    with pytest.raises(NotFoundError):
        await denizen.outbox.retry([mail_id], actor=OPERATOR)
    async with db.get_session(read_only=True) as unit:
        assert not await has_due(unit, outbox, denizen.clock.db_now)


async def test_all_are_tried_again_by_one_button(
    console: Browser, denizen: Denizen[UserModel], statements: StatementCounter
) -> None:
    """As many as are listed, in one statement and with one event."""
    await _given_up(denizen, await a_user(denizen), 3)
    page = await console.open(SYSTEM)
    ids = re.findall(r'name="id" value="([0-9a-f-]+)"', page.text)[:3]
    done = await console.send(page.forms[RETRY], id=ids)
    events = (await denizen.audit.list_events(action="mail.retried")).items

    assert len(set(ids)) == 3
    assert done.said == "3 mails are tried again now."
    assert [event.after["mails"] for event in events] == [3]


@pytest.mark.parametrize("what", ["sent", "waiting", "nobody's", "none", "nonsense"])
async def test_what_was_not_given_up_is_not_tried_again(
    console: Browser, denizen: Denizen[UserModel], post: Post, what: str
) -> None:
    """A mail that was sent or is being sent would arrive twice."""
    ann = await a_user(denizen, email="ann@example.com", username="ann")
    await console.send(Form(TEST, (await console.open(SYSTEM)).forms[TEST].fields))
    async with denizen.db.get_session(read_only=True) as db:
        outbox = denizen.parts.tables.outbox
        mail_id = str(await db.scalar(outbox.select().with_only_columns(outbox.c.id)))
    if what == "sent":
        await post.deliver()
    token = (await console.open(SYSTEM)).forms[TEST].fields["form"]
    ids = {"nobody's": str(ann.id), "none": "", "nonsense": "x"}
    fields = {"form": token} | ({} if what == "none" else {"id": ids.get(what, mail_id)})
    page = await console.send(Form(RETRY, fields))

    assert page.status == (400 if what == "nonsense" else 200)
    if what != "nonsense":
        assert page.said == "There is no such mail to send again."
    assert list(await denizen.audit.list_events(action="mail.retried")) == []


async def test_mail_that_is_tried_by_itself_says_when(
    console: Browser, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """No button: it is in somebody's hands."""
    await _given_up(denizen, await a_user(denizen))
    async with superuser(databases.superuser_url) as connection:
        await connection.execute("UPDATE outbox SET next_try_at = '2030-01-02 03:04:00+00'")
    page = await console.open(SYSTEM)

    assert "2 Jan 2030, 03:04 UTC" in page.text
    assert RETRY not in page.forms
    assert re.search(r"<dt>Waiting</dt><dd><b>1</b>", page.text)


async def test_test_mail_goes_to_whoever_asks(
    console: Browser, denizen: Denizen[UserModel], post: Post
) -> None:
    """By the way that all mails go; five, and then there is a limit; the audit has nothing."""
    done = await console.send((await console.open(SYSTEM)).forms[TEST])
    letter = await post.one_to("root@example.com")
    for _ in range(4):
        await console.send((await console.open(SYSTEM)).forms[TEST])
    refused = await console.send((await console.open(SYSTEM)).forms[TEST])
    actions = {event.action for event in await denizen.audit.list_events()}

    assert done.said.startswith("A test mail is on its way to root@example.com.")
    assert letter.subject == "A test mail"
    assert refused.status == 429
    assert "Too many tries" in refused.text
    assert actions == {"session.started"}


async def test_support_sends_and_retries_nothing(
    console: Browser, helper: Browser, denizen: Denizen[UserModel], post: Post
) -> None:
    """T-AZ: with a form of its own session 403, and nothing is queued."""
    await _given_up(denizen, await a_user(denizen))
    page = await console.open(SYSTEM)
    fields = (await helper.open("/account")).forms["/account/sign-out"].fields
    told = [
        (await helper.post(Form(RETRY, fields | _retries(page)))).status_code,
        (await helper.post(Form(TEST, fields))).status_code,
        (await helper.open(SYSTEM)).status,
    ]

    assert told == [403] * 3
    assert not await denizen.mail.send_due()


async def test_texts_of_mails_are_text(
    console: Browser, denizen: Denizen[UserModel], databases: Databases
) -> None:
    """T-XSS-1: kinds, reasons, names."""
    ann = await a_user(denizen)
    await _given_up(denizen, ann)
    async with superuser(databases.superuser_url) as connection:
        await connection.execute("UPDATE outbox SET kind = $1, error = $2", EVIL[:32], EVIL)
        await connection.execute("UPDATE users SET username = $1 WHERE role = 'user'", EVIL[:64])
    page = await console.open(SYSTEM)

    assert page.status == 200
    assert is_inert(page.text)


async def test_system_takes_few_statements(
    console: Browser, denizen: Denizen[UserModel], statements: StatementCounter
) -> None:
    """Two for the outbox, one for names, four for the doctor; however many mails there are."""
    for _ in range(3):
        await _given_up(denizen, await a_user(denizen))
    await console.open(SYSTEM)
    async with statements.listening() as heard:
        await console.open(SYSTEM)

    assert len({one for one in heard if "SELECT" in one}) == 1 + 2 + 1 + 3, heard


async def test_system_is_in_russian_too(console: Browser) -> None:
    """Findings, settings, mails."""
    await console.fill("/account/language", locale="ru")
    page = await console.open(SYSTEM)

    assert page.heading == "Система"
    assert "почтовый сервер не указан" in page.text
    assert "сколько дней хранятся события журнала" in page.text


async def test_folder_of_mails_stands_in_the_console_for_staff(
    settings: Settings, denizen: Denizen[UserModel]
) -> None:
    """With its sections beside it; for everybody else without."""
    app = create_app(settings, is_dev=True)
    await app.state.denizen.start()
    browser = Browser.of(app, base_url="http://localhost")
    before = await browser.open("/dev/mail")
    root = await a_user(denizen, role="admin", password=PASSWORD)
    token = (await denizen.sessions.sign_in(root.email, PASSWORD)).token.text
    browser.client.cookies.set("__Host-session", token)
    after = await browser.open("/dev/mail")
    await app.state.denizen.stop()

    assert 'href="/console/system"' not in before.text
    assert 'href="/console/system"' in after.text
    assert after.heading == "Mails"
