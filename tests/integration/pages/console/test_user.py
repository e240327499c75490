"""One user in the console: what is shown, what is done, what is refused."""

import re

import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.audit.model import Actor, as_reason
from denizen.db.testing import Databases, superuser
from denizen.errors import OwnAccountError
from denizen.settings import Settings
from denizen.users.model import UserModel
from denizen.users.queries import UserFilter
from denizen.users.schemas import UpdateUser
from denizen.users.status import Status, status_of
from support import PASSWORD, StatementCounter, a_user
from webforms import Browser, mails_in, path_of_link

Service = Denizen[UserModel]
USERS = "/console/users"
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def path(ann: UserModel) -> str:
    """Give the address of her page."""
    return f"{USERS}/{ann.id}"


async def status(denizen: Service, user: UserModel) -> Status:
    """Give what she is by now."""
    return status_of(await denizen.users.get_user(user.id, also_leaving=True))


async def events(denizen: Service, user: UserModel, action: str) -> list[dict[str, object]]:
    """Give what the events of a kind about her say after."""
    found = await denizen.audit.list_events(user_id=user.id, action=action)
    return [event.after for event in found]


async def test_page_shows_what_is_known(
    console: Browser, russian: Browser, denizen: Service, ann: UserModel, path: str
) -> None:
    """Whether she can sign in, every fact, where she is signed in, what happened last."""
    await russian.sign_in(ann.email, PASSWORD)
    await denizen.account.update_me(ann.id, {"username": "anna"})
    page = await console.open(path)

    assert page.heading == ann.email
    for said in ("Can sign in.", "anna", str(ann.id), "Sessions: 1", "Sign-in", "by the operator"):
        assert said in page.text
    assert "Username: ann → anna" in page.text
    assert '<button type="button" class="plain" data-copy="copied"' in page.text
    assert f"/console/audit?user_id={ann.id}" in page.text
    assert re.search(r'End session<span class="hidden">: [^<]+</span>', page.text)


async def test_support_sees_the_user_and_no_button(
    helper: Browser, russian: Browser, ann: UserModel, path: str
) -> None:
    """Read only: no act, no event, which only administrators read."""
    await russian.sign_in(ann.email, PASSWORD)
    page = await helper.open(path)

    assert (page.heading, "Sessions: 1" in page.text) == (ann.email, True)
    assert set(page.forms) == {"/account/sign-out", "/account/language"}
    assert f"{path}/" not in page.text
    assert "Activity" not in page.text


@pytest.mark.parametrize("name", [NOBODY, "x", "%00", "new%2F", "..%2Fnew"])
@pytest.mark.parametrize("page", ["", "/change", "/disable", "/delete", "/erase"])
async def test_nobodys_page_offers_a_search(console: Browser, name: str, page: str) -> None:
    """404 for an id of nobody and for what is none, with the box to look for another."""
    found = await console.open(f"{USERS}/{name}{page}")

    assert found.status == 404
    if found.heading != "There is nothing here":  # a slash makes it no page at all
        assert found.heading == "There is no such user"
        assert found.forms[USERS].fields == {"q": ""}


async def test_act_on_nobody_is_404(console: Browser, path: str) -> None:
    """Whoever was erased meanwhile: nothing to be done, and the page says so."""
    form = (await console.open(f"{path}/disable")).forms[f"{path}/disable"]
    form.action = f"{USERS}/{NOBODY}/disable"
    page = await console.send(form)

    assert (page.status, page.heading) == (404, "There is no such user")


async def test_user_is_created_and_invited(
    console: Browser, denizen: Service, settings: Settings
) -> None:
    """The account, a mail in its language its page with the news; then a password."""
    page = await console.fill(
        f"{USERS}/new", email=" ann@example.com ", username="ann", role="support", locale="ru"
    )
    assert page.heading == "ann@example.com"
    assert page.said.startswith("The account is created.")
    assert "Can't sign in yet: no password is set." in page.text
    (user,) = await denizen.users.list_users(UserFilter(email="ann@example.com"))
    assert (user.role, user.locale, user.hashed_password) == ("support", "ru", None)

    await denizen.mail.send_due()
    await console.fill(
        path_of_link(settings.mail_folder, user.email, "password-reset"),
        password="the first of my own",
    )
    assert await status(denizen, user) == "active"


async def test_creation_tells_of_all_that_is_wrong(
    console: Browser, denizen: Service, ann: UserModel
) -> None:
    """Both taken fields at once, both unreadable ones, a role that is none; all typed stays."""
    path = f"{USERS}/new"
    taken = await console.fill(path, email=ann.email.upper(), username="ANN", role="support")
    wrong = await console.fill(path, email="ann", username="a b", role="root", locale="de")
    empty = await console.fill(path)

    assert taken.status == 409
    assert "belongs to another account" in taken.alert
    assert "belongs to somebody else" in taken.alert
    assert taken.forms[path].fields | {"form": ""} == {
        "form": "", "email": "ANN@EXAMPLE.COM", "username": "ANN", "role": "support", "locale": "en"
    }  # fmt: skip
    assert (wrong.status, empty.status) == (422, 422)
    for issue in ("email-issue", "username-issue", "role-issue", "locale-issue"):
        assert f'id="{issue}"' in wrong.text
    assert "Enter a username." in empty.alert
    assert len(await denizen.users.list_users(UserFilter())) == 2


async def test_disabling_says_what_ends_is_done_and_undone(
    console: Browser, russian: Browser, denizen: Service, ann: UserModel, path: str
) -> None:
    """Consequences in numbers; a reason for the audit; one button takes it back."""
    await russian.sign_in(ann.email, PASSWORD)
    asked = await console.open(f"{path}/disable")
    assert "1 session ends at once." in asked.text
    done = await console.send(asked.forms[f"{path}/disable"], reason=" left\x00 the <b>firm</b> ")
    assert (done.heading, await status(denizen, ann)) == (ann.email, "disabled")
    assert (await russian.open("/account")).heading == "Войти"
    assert await events(denizen, ann, "user.updated") == [
        {"is_active": False, "reason": "left the <b>firm</b>"}
    ]
    assert "Reason: left the &lt;b&gt;firm&lt;/b&gt;" in done.text
    undone = await console.send(done.forms[f"{path}/enable"])

    assert await status(denizen, ann) == "active"
    assert undone.said == "The account is enabled."
    assert (await russian.open("/account")).heading == "Войти"  # her session stays ended
    redone = await console.send(undone.forms[f"{path}/disable"])  # which is taken back likewise
    assert redone.said == "The account is disabled, and signed out everywhere."
    assert await status(denizen, ann) == "disabled"
    assert (await console.open(path)).said == ""


def test_reason_is_one_inert_line() -> None:
    """Two hundred characters at most, nothing that moves a terminal or that no JSON holds."""
    assert as_reason("a\r\nb\x1b[31m\x00 \u202e c\ud800") == "a b [31m c"
    assert as_reason("ё" * 5000) == "ё" * 200
    assert as_reason(" \t") == ""


async def test_sessions_are_ended_one_by_one_and_all(
    console: Browser, app: FastAPI, denizen: Service, ann: UserModel, path: str
) -> None:
    """T-ADM-2: each by its own button; all after a page that counts them; the owner is out."""
    browsers = [Browser.of(app) for _ in range(3)]
    for browser in browsers:
        await browser.sign_in(ann.email, PASSWORD)
    page = await console.open(path)
    one = await console.send(page.forms[f"{path}/end-session"])
    again = await console.send(page.forms[f"{path}/end-session"])
    assert (one.said, again.said) == ("The session is ended.", "The session is ended.")
    gone = (await console.open(path)).forms[f"{path}/end-session"]
    stale = await console.send(gone, session=page.forms[f"{path}/end-session"].fields["session"])
    assert stale.said == "That session was over already."
    assert (await console.send(gone, session="1 OR 1=1")).status == 400
    asked = await console.open(f"{path}/end-sessions")
    assert "2 sessions end at once." in asked.text
    done = await console.send(asked.forms[f"{path}/end-sessions"], reason="stolen")

    assert done.said == "2 sessions are ended."
    assert [(await browser.open("/account")).heading for browser in browsers] == ["Sign in"] * 3
    assert await events(denizen, ann, "session.all_ended") == [{"sessions": 2, "reason": "stolen"}]
    for browser in browsers:
        await browser.client.aclose()


async def test_ending_ones_own_sessions_keeps_the_one_in_use(
    console: Browser, russian: Browser, root: UserModel
) -> None:
    """An admin stays where they are, and is out everywhere else."""
    await russian.sign_in(root.email, PASSWORD)
    page = await console.fill(f"{USERS}/{root.id}/end-sessions")

    assert page.said == "1 session is ended."
    assert (await russian.open("/account")).heading == "Войти"


async def test_password_is_reset_by_a_mail_alone(
    console: Browser, denizen: Service, ann: UserModel, path: str, settings: Settings
) -> None:
    """T-ADM-1: the admin sees no link; the old password is good until the owner sets another."""
    asked = await console.open(f"{path}/reset-password")
    done = await console.send(asked.forms[f"{path}/reset-password"], reason="asked for by phone")
    await denizen.mail.send_due()
    link = path_of_link(settings.mail_folder, ann.email, "password-reset")

    assert ann.email in done.said
    assert "token=" not in done.text
    assert await events(denizen, ann, "password.link_made") == [{"reason": "asked for by phone"}]
    await denizen.sessions.sign_in(ann.email, PASSWORD)
    set_anew = await console.fill(link, password="another fine passphrase 88")
    assert set_anew.said == "The password is set, and every device is signed out. Sign in."


@pytest.mark.parametrize(
    ("kind", "said", "purpose"),
    [
        ("invited", "A mail with a link to set a password goes to", "password-reset"),
        ("unconfirmed", "A mail with a link to confirm the address goes to", "email-verification"),
        ("active", "Nothing is missing", None),
    ],
)
async def test_what_lets_somebody_in_is_mailed_once_more(
    console: Browser,
    denizen: Service,
    settings: Settings,
    *,
    kind: str,
    said: str,
    purpose: str | None,
) -> None:
    """An invitation, a link to confirm the address, or nothing where nothing is missing."""
    password = None if kind == "invited" else PASSWORD
    user = await a_user(denizen, password=password, verified=kind == "active")
    path = f"{USERS}/{user.id}"
    page = await console.open(path)
    assert (f"{path}/resend" in page.forms) == (purpose is not None)
    form = page.forms["/account/sign-out"]
    form.action = f"{path}/resend"
    done = await console.send(form)
    await denizen.mail.send_due()

    assert done.said.startswith(said)
    assert len(mails_in(settings.mail_folder)) == (purpose is not None)
    assert len(await events(denizen, user, "user.welcomed")) == (purpose is not None)
    if purpose is not None:
        assert path_of_link(settings.mail_folder, user.email, purpose)


async def test_deletion_waits_and_can_be_taken_back_here_or_by_the_owner(
    console: Browser, denizen: Service, ann: UserModel, path: str, settings: Settings
) -> None:
    """Thirty days, in which the page says until when; kept, she signs in as before."""
    asked = await console.open(f"{path}/delete")
    assert "Not signed in anywhere." in asked.text
    done = await console.send(asked.forms[f"{path}/delete"], reason="asked to")
    assert done.said.startswith("The account will be erased on ")
    assert await status(denizen, ann) == "leaving"
    assert await events(denizen, ann, "user.deletion_requested") == [{"reason": "asked to"}]
    assert "Keep the account" in done.text
    assert f"{path}/change" not in done.text
    kept = await console.send(done.forms[f"{path}/keep"])
    await denizen.mail.send_due()

    assert kept.said == "The account stays."
    await denizen.sessions.sign_in(ann.email, PASSWORD)
    assert len(await events(denizen, ann, "user.deletion_undone")) == 1
    assert mails_in(settings.mail_folder) == []  # the mail was not out yet, and is about nothing
    await denizen.users.keep_user(ann.id)  # nothing to keep her from: no event
    assert len(await events(denizen, ann, "user.deletion_undone")) == 1


async def test_erasure_needs_the_address_typed_and_leaves_no_reason(
    console: Browser, denizen: Service, ann: UserModel, path: str, databases: Databases
) -> None:
    """Compared on the server, in any spelling; then she is gone, and the list says so."""
    asked = await console.open(f"{path}/erase")
    form = asked.forms[f"{path}/erase"]
    for typed, status_code in (("", 422), ("ann", 422), ("root@example.com", 422)):
        wrong = await console.send(form, email=typed)
        assert (wrong.status, "email-issue" in wrong.text) == (status_code, True)
    assert await status(denizen, ann) == "active"
    done = await console.send(form, email=" ANN@example.com", reason="ann asked for it")

    assert (done.heading, done.said) == ("Users", "The account is erased.")
    assert (await console.open(path)).status == 404
    bob = await a_user(denizen)
    actor = Actor("operator", reason="bob asked for it")
    await denizen.users.delete_user(bob.id, at_once=True, actor=actor)
    async with superuser(databases.superuser_url) as connection:
        rows = await connection.fetch("SELECT * FROM audit_events WHERE action = 'user.erased'")
    assert len(rows) == 2
    assert "asked for it" not in str(rows)


async def test_whoever_waits_to_be_erased_is_only_kept_or_erased(
    console: Browser, denizen: Service, ann: UserModel, path: str
) -> None:
    """What was open in another tab does nothing, and says why."""
    pages = {n: await console.open(f"{path}/{n}") for n in ("disable", "delete", "reset-password")}
    change = await console.open(f"{path}/change")
    await denizen.users.delete_user(ann.id)
    told = [await console.send(page.forms[f"{path}/{n}"]) for n, page in pages.items()]
    told.append(await console.send(change.forms[f"{path}/change"], username="other"))

    for page in told:
        assert page.said.startswith("Nothing was done: "), page.text
        assert set(page.forms) >= {f"{path}/keep"}
    assert await status(denizen, ann) == "leaving"


@pytest.mark.parametrize("name", ["disable", "delete", "erase", "change"])
async def test_nobody_shuts_themselves_out(
    console: Browser, denizen: Service, root: UserModel, name: str
) -> None:
    """Refused by the scenario, whatever page is made up; no button for it on one's own page."""
    await a_user(denizen, role="admin")
    path = f"{USERS}/{root.id}"
    own = await console.open(path)
    page = await console.open(f"{path}/{name}")
    changes: dict[str, str | list[str]] = {"email": root.email}
    changes |= {"role": "support"} if name == "change" else {}
    refused = await console.send(page.forms[f"{path}/{name}"], **changes)

    assert name == "change" or f"{path}/{name}" not in own.text
    assert refused.status == 409
    assert "This is your own account." in refused.alert
    assert await status(denizen, root) == "active"
    assert (await denizen.users.get_user(root.id)).role == "admin"


@pytest.mark.parametrize(
    "given",
    [
        {"is_active": False},
        {"email_verified": False},
        {"email": "other@example.com"},
        {"email": "other@example.com", "email_verified": True},  # it wants the password
    ],
)
async def test_scenario_spares_the_actor_every_way_out(
    denizen: Service, console: Browser, root: UserModel, given: dict[str, object]
) -> None:
    """Whatever would sign them out; another name, or another's account, is theirs to change."""
    await a_user(denizen, role="admin")
    actor = Actor("user", root.id)
    with pytest.raises(OwnAccountError):
        await denizen.users.update_user(
            root.id, UpdateUser.model_validate(given), spare_self=True, actor=actor
        )
    changed = await denizen.users.update_user(
        root.id, UpdateUser(username="rooty", role="admin"), spare_self=True, actor=actor
    )
    assert (changed.username, changed.can_sign_in) == ("rooty", True)


async def test_last_admin_stays_in_the_console(
    console: Browser, denizen: Service, root: UserModel, databases: Databases
) -> None:
    """The page says who has to come first."""
    other = await a_user(denizen, role="admin")
    form = (await console.open(f"{USERS}/{other.id}/disable")).forms[f"{USERS}/{other.id}/disable"]
    await databases.run(
        f"UPDATE users SET erase_after = now() + interval '1 day' WHERE id = '{root.id}'"
    )
    page = await console.send(form)

    assert page.status == 409
    assert "last active administrator" in page.alert


async def test_user_page_takes_as_many_statements_as_it_has_parts(
    console: Browser, helper: Browser, denizen: Service, path: str, statements: StatementCounter
) -> None:
    """Who asks, the user, their sessions; for admins what happened, and who did it."""
    await console.open(path)
    told = {}
    for name, browser in (("admin", console), ("support", helper)):
        async with statements.listening() as heard:
            await browser.open(path)
        told[name] = len(heard)

    assert told == {"admin": 4, "support": 3}


XSS = (
    "'\"><img/src=x/onerror=alert(1)>{{7*7}}",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    "\u202eevil\u200b",
    "%(email)s %s %",
    "</title><svg/onload=alert(1)>",
)


@pytest.mark.parametrize("evil", XSS)
async def test_t_xss_1_texts_of_strangers_are_texts_in_the_console(
    console: Browser,
    russian: Browser,
    denizen: Service,
    ann: UserModel,
    *,
    path: str,
    databases: Databases,
    evil: str,
) -> None:
    """T-XSS-1: names, addresses, agents, reasons and searches, on every page about users."""
    agent = evil.encode("ascii", "replace").decode()
    russian.client.headers["User-Agent"] = f"{agent} Firefox/1"
    await russian.sign_in(ann.email, PASSWORD)
    await console.fill(f"{path}/end-sessions", reason=evil)
    async with superuser(databases.superuser_url) as connection:  # past every rule of ours
        await connection.execute(
            "UPDATE users SET username = $1, email = $1, locale = $2 WHERE id = $3",
            evil, evil[:8], ann.id,
        )  # fmt: skip
    names = ("change", "disable", "delete", "erase", "reset-password", "end-sessions")
    where = [f"{path}/{name}" for name in names]
    where += [USERS, path, f"{USERS}/bulk?act=disable&id={ann.id}"]
    where.append(f"{USERS}/bulk?act=enable&all=yes")
    pages = [await console.open(one) for one in where]
    search = (await console.open(USERS)).forms[USERS]
    pages += [await console.send(search, q=evil), await console.send(search, q=evil * 3)]
    stale = pages[0].forms[f"{path}/change"]
    pages.append(await console.send(stale, email=evil, username=evil))
    await denizen.users.update_user(ann.id, UpdateUser(username="someone"))
    pages.append(await console.send(stale, email="a@example.com", username="b"))

    assert [page.status for page in pages] == [200] * 12 + [422, 412]
    for page in pages:
        assert not [tag for tag, _ in page.tags if tag in {"img", "svg/onload=alert(1)"}]
        assert "<script>" not in page.text
        assert not [v for _, told in page.tags for k, v in told.items() if k.startswith("on")]
        assert not [t for _, t in page.tags if str(t.get("href", "")).startswith("javascript")]
        assert ">49<" not in page.text
