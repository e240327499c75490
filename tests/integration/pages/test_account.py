"""My account: what each page shows and does, in both languages."""

import asyncio
import json
import re
from typing import Any

import pytest
from sqlalchemy import select

from denizen.app import Denizen
from denizen.audit.model import Actor
from denizen.db.errors import UnavailableError
from denizen.db.testing import Databases, superuser
from denizen.db.unit import Db
from denizen.settings import Settings
from denizen.users.model import UserModel
from denizen.users.schemas import UpdateUser
from support import PASSWORD, StatementCounter, a_user
from webforms import Browser, path_of_link

NEW = "another fine passphrase 88"
PAGES = {
    "/account": ("My account", "Моя учётная запись"),
    "/account/username": ("Change username", "Изменить имя пользователя"),
    "/account/password": ("Change password", "Изменить пароль"),
    "/account/email": ("Change e-mail address", "Изменить адрес почты"),
    "/account/language": ("Language", "Язык"),
    "/account/sessions": ("Devices", "Устройства"),
    "/account/activity": ("Activity", "Журнал"),
    "/account/data": ("Download my data", "Скачать мои данные"),
    "/account/delete": ("Delete my account", "Удалить учётную запись"),
}


@pytest.mark.parametrize("path", PAGES)
async def test_page_is_there_for_whoever_is_signed_in_alone(
    signed_in: Browser, russian: Browser, path: str
) -> None:
    """Signed in its heading, in the account's language; signed out the sign-in page, in one's own.

    The language is the one thing that strangers may change, too.
    """
    english = await signed_in.open(path)
    await signed_in.fill("/account/language", locale="ru")
    told = [english, await signed_in.open(path)]
    stranger = await russian.open(path)

    assert tuple(page.heading for page in told) == PAGES[path]
    assert stranger.heading == ("Язык" if path == "/account/language" else "Войти")


async def test_summary_shows_what_is_known(signed_in: Browser, ann: UserModel) -> None:
    """Address with its state, username, devices, language; each link's name says to what."""
    page = await signed_in.open("/account")

    for said in (ann.email, "Confirmed", "ann", "Not changed yet", "1 signed in", "English"):
        assert said in page.text
    assert 'Change<span class="hidden">: E-mail address</span>' in page.text


async def test_username_is_changed_and_a_taken_one_is_not(
    signed_in: Browser, denizen: Denizen[UserModel]
) -> None:
    """409 at the field, with what was typed; then the new name stands in the summary."""
    await a_user(denizen, username="taken")
    taken = await signed_in.fill("/account/username", username="TAKEN")
    done = await signed_in.send(taken.forms["/account/username"], username="anna")

    assert taken.status == 409
    assert "belongs to somebody else" in taken.alert
    assert taken.forms["/account/username"].fields["username"] == "TAKEN"
    assert (done.heading, done.said) == ("My account", "Your username is changed.")
    assert "<span>anna</span>" in done.text


async def test_password_is_changed_and_other_devices_are_out(
    signed_in: Browser, ann: UserModel, russian: Browser
) -> None:
    """A wrong current one and a weak new one are refused; then this device stays, others end."""
    await russian.sign_in(ann.email, PASSWORD)
    wrong = await signed_in.fill("/account/password", current_password="no", password=NEW)
    weak = await signed_in.send(
        wrong.forms["/account/password"], current_password=PASSWORD, password="password12345678"
    )
    done = await signed_in.send(
        weak.forms["/account/password"], current_password=PASSWORD, password=NEW
    )

    assert (wrong.status, wrong.alert) == (403, "There is a problem The password is wrong.")
    assert 'id="current_password-issue"' in wrong.text
    assert (weak.status, "attackers try first" in weak.alert) == (422, True)
    assert PASSWORD not in wrong.text + weak.text
    assert done.said == "Your password is changed, and every other device is signed out."
    assert "Changed <time" in done.text
    assert (await russian.open("/account")).heading == "Войти"


async def test_well_known_address_leads_to_the_password(signed_in: Browser) -> None:
    """Password managers find the page (W3C well-known URL)."""
    page = await signed_in.open("/.well-known/change-password")

    assert (page.heading, page.path) == ("Change password", "/account/password")


async def test_address_waits_until_it_is_confirmed(
    signed_in: Browser, ann: UserModel, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """Asked for, seen as pending before and after the mail, confirmed by its link."""
    sent = await signed_in.fill(
        "/account/email", email="anna@example.com", current_password=PASSWORD
    )
    assert "anna@example.com waits to be confirmed" in sent.text
    await denizen.mail.send_due()
    shown = await signed_in.open("/account/email")
    assert "The link works until" in shown.text
    assert "anna@example.com waits" in (await signed_in.open("/account")).text
    link = path_of_link(settings.mail_folder, "anna@example.com", "email-change")
    done = await signed_in.fill(link)

    assert (done.heading, done.said) == ("My account", "Your e-mail address is changed.")
    assert ann.email not in done.text
    assert "waits" not in done.text


@pytest.mark.parametrize("is_sent", [False, True])
async def test_pending_address_can_be_called_off(
    signed_in: Browser, denizen: Denizen[UserModel], settings: Settings, *, is_sent: bool
) -> None:
    """The mail is taken back where it waits, and its link is dead where it is out."""
    sent = await signed_in.fill(
        "/account/email", email="anna@example.com", current_password=PASSWORD
    )
    if is_sent:
        await denizen.mail.send_due()
    done = await signed_in.send(sent.forms["/account/email/cancel"])
    await denizen.mail.send_due()

    assert done.said == "The address stays as it is."
    assert "/account/email/cancel" not in done.forms
    if is_sent:
        link = path_of_link(settings.mail_folder, "anna@example.com", "email-change")
        assert (await signed_in.open(link)).status == 400
    else:
        with pytest.raises(AssertionError, match="no email-change"):
            path_of_link(settings.mail_folder, "anna@example.com", "email-change")


async def test_language_is_the_accounts_and_the_browsers(
    signed_in: Browser, denizen: Denizen[UserModel], ann: UserModel
) -> None:
    """Chosen once, it holds for the account, its mails, and this browser signed out."""
    page = await signed_in.open("/account/sessions")
    russian = await signed_in.send(page.forms["/account/language"], locale="ru")
    assert (russian.heading, russian.path) == ("Устройства", "/account/sessions")
    async with denizen.db.get_session(read_only=True) as db:
        user = await UserModel.get_by_id(db, ann.id)
    out = await signed_in.send(russian.forms["/account/sign-out"])

    assert user is not None
    assert user.locale == "ru"
    assert (out.heading, out.said) == ("Войти", "Вы вышли.")


@pytest.mark.parametrize("locale", ["de", "", "en\x00", "__class__"])
async def test_language_that_there_is_none_of_is_refused(browser: Browser, locale: str) -> None:
    """422, and the page stays as it was."""
    page = await browser.fill("/account/language", locale=locale)

    assert (page.status, page.heading) == (422, "Language")


async def test_data_are_those_of_the_api(
    signed_in: Browser, ann: UserModel, statements: StatementCounter
) -> None:
    """A file of JSON to be saved, with the same content as `/v1/me/export`."""
    answer = await signed_in.client.get("/account/data/download")
    token = signed_in.client.cookies["__Host-session"]
    headers = {"Authorization": f"Bearer {token}"}
    by_api = await signed_in.client.get("/v1/me/export", headers=headers)

    assert answer.headers["content-disposition"] == 'attachment; filename="account-data.json"'
    assert answer.json() == by_api.json()
    assert answer.json()["user"]["email"] == ann.email


async def test_deletion_asks_for_the_password_and_can_be_undone(
    signed_in: Browser, ann: UserModel, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """Signed out at once; no sign-in; the link from the mail; signed in again."""
    wrong = await signed_in.fill("/account/delete", current_password="no")
    assert wrong.status == 403
    gone = await signed_in.send(wrong.forms["/account/delete"], current_password=PASSWORD)
    assert gone.heading == "Sign in"
    assert "will be erased on" in gone.said
    assert "__Host-session" not in signed_in.client.cookies
    assert (await signed_in.sign_in(ann.email, PASSWORD)).status == 401
    await denizen.mail.send_due()
    kept = await signed_in.fill(path_of_link(settings.mail_folder, ann.email, "deletion-undo"))
    back = await signed_in.sign_in(ann.email, PASSWORD)

    assert kept.said == "Your account stays. Sign in."
    assert back.heading == "My account"


async def test_last_admin_stays(browser: Browser, denizen: Denizen[UserModel]) -> None:
    """The page says why it can't be done."""
    admin = await a_user(denizen, password=PASSWORD, role="admin")
    await browser.sign_in(admin.email, PASSWORD)
    page = await browser.fill("/account/delete", current_password=PASSWORD)

    assert page.status == 409
    assert "last active administrator" in page.alert


async def test_devices_are_ended_one_by_one_and_all_others(
    signed_in: Browser, ann: UserModel, russian: Browser, app: Any
) -> None:
    """This one first and without a button; each button names its device."""
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    russian.client.headers["User-Agent"] = firefox
    third = Browser.of(app)
    for browser in (russian, third):
        await browser.sign_in(ann.email, PASSWORD)
    page = await signed_in.open("/account/sessions")
    assert page.text.index("This device") < page.text.index("Firefox, Linux")
    assert 'End session<span class="hidden">: Firefox, Linux' in page.text
    ends = dict(
        re.findall(r'name="id" value="([^"]+)">\s*<button[^>]*>[^<]*<span[^>]*>([^<]+)', page.text)
    )
    (theirs,) = [session for session, name in ends.items() if "Firefox" in name]
    one = await signed_in.send(page.forms["/account/sessions/end"], id=theirs)
    assert one.said == "The device is signed out."
    assert (await russian.open("/account")).heading == "Войти"
    again = await signed_in.send(one.forms["/account/sessions/end"], id=theirs)
    assert again.said == "That device was signed out already."
    rest = await signed_in.send(one.forms["/account/sessions/end-others"])

    assert rest.said == "1 other device is signed out."
    assert "No other device is signed in." in rest.text
    assert (await third.open("/account")).heading == "Sign in"


async def test_session_of_somebody_else_is_not_ended(
    signed_in: Browser, denizen: Denizen[UserModel], russian: Browser
) -> None:
    """Their id is nobody's device here; what is no id is refused."""
    other = await a_user(denizen, password=PASSWORD)
    await russian.sign_in(other.email, PASSWORD)
    (session,) = await denizen.sessions.list_sessions(other.id)
    form = (await signed_in.open("/account/sessions")).forms["/account/language"]
    form.action = "/account/sessions/end"
    page = await signed_in.send(form, id=str(session.id))
    nonsense = await signed_in.send(form, id="1 OR 1=1")

    assert page.said == "That device was signed out already."
    assert nonsense.status == 400
    assert (await russian.open("/account")).heading == "My account"


async def test_activity_does_not_tell_where_an_admin_sits(
    signed_in: Browser, ann: UserModel, denizen: Denizen[UserModel]
) -> None:
    """What others did is told with the word for them alone, as in the export."""
    root = await a_user(denizen, role="admin")
    actor = Actor("user", root.id, "203.0.113.77", "Mozilla/5.0 (X11; Linux) Firefox/151.0")
    await denizen.users.update_user(ann.id, UpdateUser(username="annie"), actor=actor)

    page = await signed_in.open("/account/activity")
    assert "by an administrator" in page.text
    assert "203.0.113.77" not in page.text
    assert "Firefox" not in page.text


async def test_activity_shows_the_newest_first_in_pages(
    signed_in: Browser, denizen: Denizen[UserModel], ann: UserModel
) -> None:
    """Own events with what, who, from where and when; older ones on the next page."""
    for number in range(20):
        await denizen.account.update_me(ann.id, {"username": f"ann{number}"})
    first = await signed_in.open("/account/activity")
    older = re.search(r'href="(/account/activity\?cursor=[^"]+)"', first.text)
    assert older is not None
    second = await signed_in.open(older[1])
    forged = await signed_in.open("/account/activity?cursor=forged")

    assert first.text.count("Change of the account") == 20
    assert "by the operator" in first.text
    assert "Change of the account" not in second.text
    assert "<b>Sign-in</b>" in second.text
    assert 'href="/account/activity">' in second.text
    assert forged.status == 422


async def test_pages_show_texts_of_strangers_as_texts(
    browser: Browser, denizen: Denizen[UserModel], settings: Settings
) -> None:
    """T-XSS-1: names, agents, addresses and what was typed are text on every page, never markup."""
    browser.client.headers["User-Agent"] = "<script>alert(1)</script>Firefox/1"
    name = "'\"><img/src=x/onerror=alert(1)>{{7*7}}"
    user = await a_user(denizen, password=PASSWORD)
    await browser.sign_in(user.email, PASSWORD)
    async with superuser_of(denizen, settings) as connection:
        await connection.execute("UPDATE users SET username = $1", name)  # past every rule of ours
    texts = [(await browser.open(path)).text for path in (*PAGES, "/")]
    refused = await browser.fill("/account/username", username="<script>alert(2)</script>")
    texts.append(refused.text)
    reflected = await browser.open('/account/nothing"><script>alert(3)</script>')
    texts.append(reflected.text)

    for text in texts:
        assert "<img" not in text
        assert "alert(1)</script>" not in text
        assert "<script>" not in text
        assert "49" not in re.findall(r"\{\{(.*?)\}\}|>49<", text)
    assert "&lt;script&gt;alert(2)" in refused.text


def superuser_of(denizen: Denizen[UserModel], settings: Settings) -> Any:
    """Open a connection that may write anything."""
    del denizen
    assert settings.migrate_url is not None
    return superuser(settings.migrate_url.get_secret_value())


@pytest.mark.parametrize("path", [*PAGES, "/account/data/download"])
async def test_t_csrf_3_looking_at_a_page_changes_no_row(
    signed_in: Browser, databases: Databases, path: str
) -> None:
    """T-CSRF-3: GET and HEAD leave every table as it was."""
    before = await _hashes(databases)
    for method in ("GET", "HEAD"):
        await signed_in.client.request(method, path)

    assert await _hashes(databases) == before


async def _hashes(databases: Databases) -> dict[str, Any]:
    async with superuser(databases.owner_url) as connection:
        names = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        every = "SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM"
        return {name: await connection.fetchval(f'{every} "{name}" t') for (name,) in names}


async def test_form_that_comes_twice_acts_once(
    signed_in: Browser, denizen: Denizen[UserModel], ann: UserModel
) -> None:
    """A double click changes the password once, and both answers say that it was done."""
    form = (await signed_in.open("/account/password")).forms["/account/password"]
    fields = {"current_password": PASSWORD, "password": NEW}
    answers = await asyncio.gather(*(signed_in.post(form, fields) for _ in range(3)))
    changed = await denizen.audit.list_events(user_id=ann.id, action="password.changed")

    assert [a.status_code for a in answers] == [303] * 3
    assert {a.headers["location"] for a in answers} == {"/account"}
    assert len({a.headers["set-cookie"] for a in answers}) == 1
    assert len(changed) == 1


async def test_form_that_failed_without_the_database_acts_when_it_is_back(
    signed_in: Browser, denizen: Denizen[UserModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the act nor giving the form back got through: whoever sends it again waits not."""
    form = (await signed_in.open("/account/username")).forms["/account/username"]
    run, away = denizen.db.run, ("Repeats.run.", "Claims._release.")

    async def failing(unit: Any, **options: Any) -> Any:
        async def broken(db: Db) -> None:
            await unit(db)
            raise UnavailableError

        return await run(broken if unit.__qualname__.startswith(away) else unit, **options)

    with monkeypatch.context() as without:
        without.setattr(denizen.db, "run", failing)
        first = await signed_in.post(form, {"username": "other"})
    again = await signed_in.post(form, {"username": "other"})

    assert (first.status_code, again.status_code) == (503, 303)
    assert "<span>other</span>" in (await signed_in.open("/account")).text


async def test_other_values_in_the_same_form_are_another_act(signed_in: Browser) -> None:
    """Gone back to and changed, a form does what it says now."""
    form = (await signed_in.open("/account/username")).forms["/account/username"]
    for name in ("one", "two"):
        await signed_in.send(form, username=name)

    assert "<span>two</span>" in (await signed_in.open("/account")).text


async def test_password_of_a_form_is_in_no_row(
    signed_in: Browser, denizen: Denizen[UserModel]
) -> None:
    """What is kept of a form that was sent is keyed by a token that is kept nowhere."""
    form = (await signed_in.open("/account/password")).forms["/account/password"]
    await signed_in.send(form, current_password=PASSWORD, password=NEW)
    keys = denizen.parts.tables.idempotency
    async with denizen.db.get_session(read_only=True) as db:
        rows = (await db.execute(select(keys))).all()
    kept = json.dumps([[str(value) for value in row] for row in rows])

    assert len(rows) == 1
    assert form.fields["form"] not in kept
    assert PASSWORD not in kept
