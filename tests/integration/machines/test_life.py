"""The account's life as a state machine: a model in plain Python, the API, and the rows agree.

After every step all accounts, sessions, links, queued mails and events of the database are held
against `life_model`; what is found there in clear is looked for; and nobody who was erased may be
found anywhere.
"""

import hashlib
import uuid
from collections import Counter
from datetime import timedelta
from typing import Any, Final, TypeVar

from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from denizen.db.testing import Databases
from denizen.settings import Settings
from denizen.tokens.model import registration_id
from life_model import Account, Link, Model, Session
from support import a_user
from world import World, play, secret_of

T = TypeVar("T")
PASSWORDS: Final = (
    "a fine long passphrase 77",
    "another long passphrase 78",
    "third long one 79 wx",
)
TOO_SHORT: Final = "short"
ROOT: Final = "root@example.com"

emails = st.sampled_from(
    ["ann@example.com", "Ann@example.com", "bob@example.com", "cy@example.com"]
)
usernames = st.sampled_from(["ann", "Ann", "bob", "cy"])
passwords = st.sampled_from(PASSWORDS)
new_passwords = st.sampled_from([*PASSWORDS, TOO_SHORT])
nth = st.integers(0, 5)
leaps = st.sampled_from(
    [timedelta(minutes=10), timedelta(hours=2), timedelta(hours=23), timedelta(days=3)]
    + [timedelta(days=8), timedelta(days=31)]
)


class Life(RuleBasedStateMachine):
    """One service, a few people, and whatever they may do."""

    def __init__(self, databases: Databases, settings: Settings) -> None:
        super().__init__()
        self.world = World(databases, settings)
        self.model = Model()
        self.opened: list[Session] = []  # ever, so that dead ones are tried as well
        self.mailed: list[Link] = []  # likewise
        self.gone: list[Account] = []
        self.key = ""

    def teardown(self) -> None:
        self.world.close()

    @initialize()
    def begin(self) -> None:
        """An admin is there, and a key that reads."""
        world = self.world
        denizen = world.denizen
        user = world.run(a_user(denizen, email=ROOT, username="root", password=PASSWORDS[0]))
        self.key, _ = world.run(denizen.keys.create_key("reader", ["users:read"]))
        world.rows("DELETE FROM audit_events")
        world.rows("UPDATE users SET role = 'admin'")
        root = self.model.new_account(ROOT, "root", PASSWORDS[0])
        root.role, root.id = "admin", str(user.id)
        self.sign_in(ROOT, PASSWORDS[0])

    # strangers

    @rule(email=emails)
    def register(self, email: str) -> None:
        """Somebody types an address."""
        status = self.model.form("registration", email)
        self.post("/v1/registrations", {"email": email}, status)

    @rule(email=emails)
    def forget(self, email: str) -> None:
        """Somebody forgot a password, or says so."""
        status = self.model.form("password_reset", email)
        self.post("/v1/password-resets", {"email": email}, status)

    @rule(email=emails)
    def ask_to_verify(self, email: str) -> None:
        """Somebody wants the link once more."""
        status = self.model.form("email_verification", email)
        self.post("/v1/email-verifications", {"email": email}, status)

    # the post

    @rule()
    def deliver(self) -> None:
        """All mails arrive, as the model says; where an earlier one is superseded, it may not."""
        letters = {letter.request_id: letter for letter in self.world.deliver()}
        for due in self.model.deliver():
            assert due.mail.id is not None
            letter = letters.pop(due.mail.id, None)
            if letter is None:
                assert due.link is not None and due.link not in self.model.links
                continue
            assert letter.to == due.to
            assert letter.purpose == (due.link.purpose if due.link else "")
            if due.link is not None:
                due.link.text = letter.token
                self.mailed.append(due.link)
        assert not letters

    @rule(n=nth, username=usernames, password=new_passwords)
    def confirm_registration(self, n: int, username: str, password: str) -> None:
        """Somebody opens the link of a registration."""
        link = self.a_link(n, "registration")
        is_good = password in PASSWORDS
        status = self.model.confirm_registration(link, username, is_good=is_good)
        body = {"token": link.text, "username": username, "password": password}
        answer = self.post("/v1/registrations/confirm", body, status)
        if status == 201:
            self.model.registered(link, username, password).id = answer["id"]

    @rule(n=nth, password=new_passwords)
    def confirm_reset(self, n: int, password: str) -> None:
        """Somebody opens the link of a reset or an invitation."""
        link = self.a_link(n, "password-reset")
        status = self.model.confirm_reset(link, password, is_good=password in PASSWORDS)
        body = {"token": link.text, "password": password}
        self.post("/v1/password-resets/confirm", body, status)

    @rule(n=nth)
    def confirm_verification(self, n: int) -> None:
        """Somebody opens the link that confirms an address."""
        link = self.a_link(n, "email-verification")
        status = self.model.confirm_verification(link)
        self.post("/v1/email-verifications/confirm", {"token": link.text}, status)

    @rule(n=nth)
    def confirm_change(self, n: int) -> None:
        """Somebody opens the link in the new mailbox."""
        link = self.a_link(n, "email-change")
        status = self.model.confirm_change(link)
        self.post("/v1/email-changes/confirm", {"token": link.text}, status)

    @rule(n=nth)
    def undo_change(self, n: int) -> None:
        """Somebody opens the link in the old mailbox."""
        link = self.a_link(n, "email-undo")
        status = self.model.undo_change(link)
        self.post("/v1/email-changes/undo", {"token": link.text}, status)

    @rule(n=nth)
    def undo_deletion(self, n: int) -> None:
        """Somebody keeps an account."""
        link = self.a_link(n, "deletion-undo")
        status = self.model.undo_deletion(link)
        self.post("/v1/deletions/undo", {"token": link.text}, status)

    @precondition(lambda self: self.mailed)
    @rule(
        n=nth,
        path=st.sampled_from(
            ["email-verifications/confirm", "email-changes/confirm", "email-changes/undo"]
            + ["deletions/undo"]
        ),
    )
    def use_for_something_else(self, n: int, path: str) -> None:
        """A link works for nothing but what it was mailed for."""
        link = self.mailed[-1 - n % len(self.mailed)]
        assume(path != f"{link.purpose.removesuffix('-undo')}s/undo")
        assume(path != f"{link.purpose}s/confirm")
        self.post(f"/v1/{path}", {"token": link.text}, 400)

    # devices

    @rule(email=emails | st.just(ROOT), password=passwords)
    def sign_in(self, email: str, password: str) -> None:
        """Somebody signs in, or guesses."""
        status = self.model.sign_in(email, password)
        answer = self.post("/v1/sessions", {"email": email, "password": password}, status)
        if status == 201:
            self.opened.append(self.model.signed_in(email, answer["token"]))

    @precondition(lambda self: self.model.accounts)
    @rule(n=nth)
    def sign_in_rightly(self, n: int) -> None:
        """Somebody signs in with the right password."""
        account = self.an_account(n)
        assume(account.password is not None)
        self.sign_in(account.email, account.password or "")

    @rule(n=nth)
    def who_am_i(self, n: int) -> None:
        """A device asks whose it is."""
        mine = self.a_session(n)
        status = self.model.who(mine)
        answer = self.send("GET", "/v1/me", None, mine, status)
        assert status == 401 or answer["id"] == mine.account.id

    @rule(n=nth)
    def sign_out(self, n: int) -> None:
        """A device signs out."""
        mine = self.a_session(n)
        status = self.model.end_session(mine, mine)
        self.send("DELETE", "/v1/me/sessions/current", None, mine, status)

    @rule(n=nth)
    def sign_out_everywhere(self, n: int) -> None:
        """All devices of somebody are signed out."""
        mine = self.a_session(n)
        self.send("DELETE", "/v1/me/sessions", None, mine, self.model.end_all(mine))

    @rule(n=nth, m=nth)
    def sign_out_there(self, n: int, m: int) -> None:
        """A device signs out another, of whomever."""
        mine, other = self.a_session(n), self.a_session(m)
        (found,) = self.world.rows(
            "SELECT (SELECT id FROM sessions WHERE token_digest = $1)", _digest(other.text)
        )
        status = self.model.end_session(mine, other)
        self.send("DELETE", f"/v1/me/sessions/{found[0] or uuid.uuid4()}", None, mine, status)

    # one's own account

    @rule(n=nth, username=usernames, locale=st.sampled_from(["en", "ru"]))
    def rename(self, n: int, username: str, locale: str) -> None:
        """Somebody takes another name."""
        mine = self.a_session(n)
        status = self.model.rename(mine, username, locale)
        self.send("PATCH", "/v1/me", {"username": username, "locale": locale}, mine, status)

    @rule(n=nth, current=passwords, new=new_passwords, knows=st.booleans())
    def change_password(self, n: int, current: str, new: str, knows: bool) -> None:
        """Somebody changes a password."""
        mine = self.a_session(n)
        current = (mine.account.password if knows else None) or current
        status = self.model.change_password(mine, current, new, is_good=new in PASSWORDS)
        body = {"current_password": current, "new_password": new}
        self.send("PUT", "/v1/me/password", body, mine, status)

    @rule(n=nth, email=emails, password=passwords, knows=st.booleans())
    def change_email(self, n: int, email: str, password: str, knows: bool) -> None:
        """Somebody wants another address."""
        mine = self.a_session(n)
        password = (mine.account.password if knows else None) or password
        status = self.model.change_email(mine, email, password)
        self.send("POST", "/v1/me/email", {"email": email, "password": password}, mine, status)

    @rule(n=nth, password=passwords, knows=st.booleans())
    def delete_me(self, n: int, password: str, knows: bool) -> None:
        """Somebody leaves."""
        mine = self.a_session(n)
        password = (mine.account.password if knows else None) or password
        status = self.model.delete_me(mine, password)
        self.send("POST", "/v1/me/deletion", {"password": password}, mine, status)

    # admins

    @rule(
        n=nth,
        email=emails,
        username=usernames,
        password=st.none() | passwords,
        role=st.sampled_from(["user", "user", "support", "admin"]),
        is_active=st.sampled_from([True, True, False]),
        email_verified=st.booleans(),
    )
    def create(self, n: int, **body: Any) -> None:
        """An admin creates a user."""
        mine = self.an_admin(n)
        if body["password"] is None:
            del body["password"]
        status = self.model.may_create(mine, body["email"], body["username"])
        answer = self.send("POST", "/v1/users", body, mine, status)
        if status == 201:
            self.model.created(mine, body).id = answer["id"]

    @precondition(lambda self: self.model.accounts)
    @rule(
        n=nth,
        m=nth,
        changes=st.fixed_dictionaries(
            {},
            optional={
                "email": emails,
                "username": usernames,
                "role": st.sampled_from(["user", "admin"]),
                "is_active": st.booleans(),
                "email_verified": st.booleans(),
            },
        ),
        is_stale=st.sampled_from([False, False, False, True]),
    )
    def patch(self, n: int, m: int, changes: dict[str, Any], is_stale: bool) -> None:
        """An admin changes a user."""
        mine, account = self.an_admin(n), self.an_account(m)
        stale = f" {account.version + 1}" if is_stale else ""
        status = self.model.patch(mine, account, changes, is_stale=is_stale)
        self.send("PATCH", f"/v1/users/{account.id}{stale}", changes, mine, status)

    @precondition(lambda self: self.model.accounts)
    @rule(n=nth, m=nth, is_active=st.booleans())
    def disable_or_enable(self, n: int, m: int, is_active: bool) -> None:
        """An admin shuts somebody out, or in."""
        self.patch(n, m, {"is_active": is_active}, False)

    @precondition(lambda self: self.model.accounts)
    @rule(n=nth, m=nth, at_once=st.booleans())
    def delete(self, n: int, m: int, at_once: bool) -> None:
        """An admin has somebody erased."""
        mine, account = self.an_admin(n), self.an_account(m)
        status = self.model.delete(mine, account, at_once=at_once)
        path = f"/v1/users/{account.id}{'?erase=now' if at_once else ''}"
        self.send("DELETE", path, None, mine, status)
        if at_once and status == 204:
            self.gone.append(account)

    # time

    @rule(by=leaps, is_tidied=st.booleans())
    def advance(self, by: timedelta, is_tidied: bool) -> None:
        """Time passes, and mostly the housekeeper comes."""
        self.model.now += by
        self.world.advance(by)
        if is_tidied:
            self.tidy()

    @rule()
    def tidy(self) -> None:
        """The housekeeper comes."""
        for account in self.model.due_for_erasure():
            self.model.erase(account, "operator")
            self.gone.append(account)
        self.world.tidy()

    @rule()
    def restart(self) -> None:
        """The service is stopped and started."""
        self.world.restart()

    # at once

    @precondition(lambda self: self.mailed)
    @rule(n=nth)
    def race_for_a_link(self, n: int) -> None:
        """A link of a deletion or a change is used twice at once: it works once."""
        link = self.mailed[-1 - n % len(self.mailed)]
        acts = {
            "email-verification": ("email-verifications/confirm", self.model.confirm_verification),
            "email-change": ("email-changes/confirm", self.model.confirm_change),
            "email-undo": ("email-changes/undo", self.model.undo_change),
            "deletion-undo": ("deletions/undo", self.model.undo_deletion),
        }
        assume(link.purpose in acts)
        path, act = acts[link.purpose]
        expected = sorted([act(link), act(link)])
        ask = self.world.asking
        body = {"token": link.text}
        answers = self.world.together(*(ask("POST", f"/v1/{path}", body) for _ in range(2)))
        assert sorted(answer.status_code for answer in answers) == expected

    @rule(n=nth, m=nth, username=usernames)
    def race_for_a_name(self, n: int, m: int, username: str) -> None:
        """Two people want one name at once: one gets it."""
        pair = self.a_session(n), self.a_session(m)
        assume(pair[0].account is not pair[1].account)
        body = {"username": username}
        answers = self.world.together(
            *(
                self.world.asking(
                    "PATCH", "/v1/me", body, token=mine.text, agent=mine.account.agent
                )
                for mine in pair
            )
        )
        told = [answer.status_code for answer in answers]
        order = (0, 1) if told[0] == 200 else (1, 0)  # whoever got it was first
        for i in order:
            mine = pair[i]
            assert told[i] == self.model.rename(mine, username, mine.account.locale)

    # what always holds

    @invariant()
    def accounts_agree(self) -> None:
        """The model, the rows and the API tell of the same people."""
        if not self.key:
            return
        expected = {
            account.id: (*account.facts(), account.version, account.erase_at is not None)
            for account in self.model.accounts
        }
        rows = self.world.rows(
            "SELECT id::text, email, username, role, is_active, email_verified_at IS NOT NULL,"
            " locale, version, erase_after IS NOT NULL FROM users"
        )
        assert {row[0]: row[1:] for row in rows} == expected
        shown = self.world.ask("GET", "/v1/users?limit=200", token=self.key).json()["items"]
        names = ("email", "username", "role", "is_active", "email_verified", "locale", "version")
        seen = {item["id"]: tuple(item[name] for name in names) for item in shown}
        assert seen == {id: facts[:-1] for id, facts in expected.items() if not facts[-1]}

    @invariant()
    def sessions_agree(self) -> None:
        """Live sessions are the model's, of nobody who could not sign in now."""
        rows = self.world.rows(
            "SELECT user_id::text, token_digest FROM sessions WHERE expires_at > :now"
            " AND last_seen_at > :now - interval '7 days'"
        )
        live = [one for one in self.model.sessions if self.model.is_live(one)]
        assert Counter(rows) == Counter((one.account.id, _digest(one.text)) for one in live)
        assert all(one.account.can_sign_in for one in live)

    @invariant()
    def links_agree(self) -> None:
        """Links that work are the model's; one for each purpose and owner, but for the undoing."""
        rows = self.world.rows(
            "SELECT user_id::text, purpose, token_digest FROM tokens WHERE expires_at > :now"
        )
        live = list(self.model.live_links())
        assert Counter(rows) == Counter(
            (_owner(link), link.purpose, _digest(link.text)) for link in live
        )
        alone = Counter((row[0], row[1]) for row in rows if row[1] != "email-undo")
        assert all(count == 1 for count in alone.values())

    @invariant()
    def outbox_agrees(self) -> None:
        """The mails that wait are the model's."""
        rows = self.world.rows(
            "SELECT id, kind, email, user_id::text FROM outbox WHERE next_try_at IS NOT NULL"
            " ORDER BY id"
        )
        waiting = self.model.outbox
        assert [row[1:] for row in rows] == [
            (mail.kind, mail.email, mail.account and mail.account.id) for mail in waiting
        ]
        for mail, row in zip(waiting, rows, strict=True):
            mail.id = row[0]

    @invariant()
    def audit_agrees(self) -> None:
        """Each act has its event, in order, and there is none without."""
        nobody = str(uuid.UUID(int=0))
        rows = self.world.rows(
            "SELECT user_id::text, action, coalesce(actor_id::text, actor_kind)"
            " FROM audit_events ORDER BY id"
        )
        assert rows == [
            (about.id if about else nobody, action, actor if isinstance(actor, str) else actor.id)
            for about, action, actor in self.model.events
        ]

    @invariant()
    def secrets_are_kept(self) -> None:
        """No password and no token stands in a table, nor half of one."""
        dump = self.world.dump()
        assert not any(password in dump for password in (*PASSWORDS, TOO_SHORT))
        for text in [one.text for one in self.opened] + [one.text for one in self.mailed]:
            assert text not in dump
            assert secret_of(text).hex() not in dump

    @invariant()
    def the_erased_are_nowhere(self) -> None:
        """Of somebody who was erased no row tells more than the number."""
        dump = self.world.dump() if self.gone else ""
        for account in self.gone:
            assert account.agent not in dump, account

    # small steps

    def post(self, path: str, body: Any, status: int) -> Any:
        """Send somebody's form and give the answer, which has the status."""
        return self.send("POST", path, body, None, status)

    def send(self, method: str, path: str, body: Any, mine: Session | None, status: int) -> Any:
        """Send a request of a device and give the answer, which has the status."""
        token, agent = (mine.text, mine.account.agent) if mine else ("", "")
        answer = self.world.ask(method, path, body, token=token, agent=agent)
        assert answer.status_code == status, (answer.status_code, status, answer.text)
        return answer.json() if answer.content else None

    def a_link(self, n: int, purpose: str) -> Link:
        """Give a link that was mailed for that, the last first."""
        return _nth([link for link in self.mailed if link.purpose == purpose], n)

    def a_session(self, n: int) -> Session:
        """Give a session that was opened, the last first."""
        return _nth(self.opened, n)

    def an_admin(self, n: int) -> Session:
        """Give a session, mostly one of an admin."""
        live = [one for one in self.model.sessions if self.model.is_live(one)]
        admins = [one for one in live if one.account.role == "admin"]
        return _nth(admins if admins and n < 4 else self.opened, n)

    def an_account(self, n: int) -> Account:
        """Give an account, or one that was erased."""
        return _nth([*self.gone, *self.model.accounts], n)


def _nth(things: list[T], n: int) -> T:
    assume(things)
    return things[-1 - n % len(things)]


def _digest(text: str) -> bytes:
    return hashlib.sha256(secret_of(text)).digest()


def _owner(link: Link) -> str:
    return str(registration_id(link.owner)) if isinstance(link.owner, str) else link.owner.id


def test_life_of_accounts_model_api_and_rows_agree(
    databases: Databases, settings: Settings
) -> None:
    """Whatever people, admins and time do, the service does what the model says."""
    play(lambda: Life(databases, settings), examples=60, steps=40)
