"""The account's life as a state machine: `life_agreement` looks at it after every step."""

import contextlib
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from denizen.db.testing import Databases
from denizen.settings import Settings
from denizen.users.values import Role
from life_agreement import PASSWORDS, TOO_SHORT, Agreement, digest_of_text
from life_things import Account, Link, Session
from support import a_user
from world import World, play

T = TypeVar("T")
ROOT: Final = "root@example.com"

emails = st.sampled_from(
    ["ann@example.com", "Ann@example.com", "bob@example.com", "cy@example.com"]
)
usernames = st.sampled_from(["ann", "Ann", "bob", "cy", "dee", "eve"])
passwords = st.sampled_from(PASSWORDS)
new_passwords = st.sampled_from([*PASSWORDS, TOO_SHORT])
guesses = st.sampled_from(["", "", "", *PASSWORDS])  # nothing stands for what is right
nth = st.integers(0, 5)
leaps = st.sampled_from([timedelta(hours=hours) for hours in (1 / 6, 2, 23, 72, 192, 744)])
changes = st.fixed_dictionaries(
    {},
    optional={
        "email": emails,
        "username": usernames,
        "role": st.sampled_from(["user", "admin"]),
        "is_active": st.booleans(),
        "email_verified": st.booleans(),
    },
)
ROUTES: Final = {
    "email-verification": "email-verifications/confirm",
    "email-change": "email-changes/confirm",
    "email-undo": "email-changes/undo",
    "deletion-undo": "deletions/undo",
}


REACHED: Final = (
    *(f"POST /v1/{path}" for path in ROUTES.values()),
    *("POST /v1/registrations/confirm", "POST /v1/password-resets/confirm", "PUT /v1/me/password"),
    *("POST /v1/me/deletion", "POST /v1/users", "PATCH /v1/me", "DELETE /v1/me/sessions/current"),
)


class Life(Agreement):
    """One service, a few people, and whatever they may do."""

    @initialize()
    def begin(self) -> None:
        """An admin and a user are there and signed in, and a key that reads."""
        self.world.begin()
        denizen = self.world.denizen
        roles: dict[str, Role] = {"root": "admin", "ann": "user"}
        for name, role in roles.items():
            email, password = f"{name}@example.com", PASSWORDS[0]
            user = a_user(denizen, email=email, username=name, password=password, role=role)
            account = self.model.new_account(email, name, password)
            account.id, account.role = str(self.world.run(user).id), role
        self.key, _ = self.world.run(denizen.keys.create_key("reader", ["users:read"]))
        self.world.rows("DELETE FROM audit_events")
        for account in self.model.accounts:
            self.sign_in(account.email, PASSWORDS[0])

    # strangers

    @rule(
        path=st.sampled_from(["registrations", "password-resets", "email-verifications"]),
        email=emails,
        is_sent=st.booleans(),
    )
    def fill_a_form(self, path: str, email: str, is_sent: bool) -> None:
        """Somebody types an address; the mail goes now or later."""
        kind = path.removesuffix("s").replace("-", "_")
        self.post(f"/v1/{path}", {"email": email}, self.model.form(kind, email))
        if is_sent:
            self.deliver()

    # the post

    @rule()
    def deliver(self) -> None:
        """All mails arrive, as the model says; where an earlier one is superseded, it may not."""
        self.outbox_agrees()
        letters = {letter.request_id: letter for letter in self.world.deliver()}
        for due in self.model.deliver():
            assert due.mail.id is not None
            letter = letters.pop(due.mail.id, None)
            if letter is None:
                assert due.link is not None
                assert due.link not in self.model.links
                continue
            assert letter.to == due.to
            assert letter.purpose == (due.link.purpose if due.link else "")
            if due.link is not None:
                due.link.text = letter.token
                self.mailed.append(due.link)
        assert not letters

    @precondition(lambda self: self.mailed)
    @rule(n=nth, username=usernames, password=new_passwords, is_twice=st.booleans())
    def open_a_link(self, n: int, username: str, password: str, is_twice: bool) -> None:
        """Somebody opens a link; of two at once, one finds that it works no more."""
        link = _nth(self.mailed, n)
        path, act, more = self.act_of(link, username, password)
        tries = 2 if is_twice and not more else 1
        expected = sorted(act() for _ in range(tries))
        body = {"token": link.text, **more}
        answers = self.world.together(
            *(self.world.asking("POST", f"/v1/{path}", body) for _ in range(tries))
        )
        assert sorted(answer.status_code for answer in answers) == expected, answers[0].text
        if expected == [201]:
            account = self.model.registered(link, username, password)
            account.id = answers[0].json()["id"]

    def act_of(
        self, link: Link, username: str, password: str
    ) -> tuple[str, Callable[[], int], dict[str, str]]:
        """Give where a link leads, what the model says of it, and what else is sent."""
        is_good, model = password in PASSWORDS, self.model
        match link.purpose:
            case "registration":
                more = {"username": username, "password": password}
                act = partial(model.confirm_registration, link, username, is_good=is_good)
                return "registrations/confirm", act, more
            case "password-reset":
                act = partial(model.confirm_reset, link, password, is_good=is_good)
                return "password-resets/confirm", act, {"password": password}
            case "email-verification":
                return "email-verifications/confirm", partial(model.confirm_verification, link), {}
            case "email-change":
                return "email-changes/confirm", partial(model.confirm_change, link), {}
            case "email-undo":
                return "email-changes/undo", partial(model.undo_change, link), {}
            case _:
                return "deletions/undo", partial(model.undo_deletion, link), {}

    @precondition(lambda self: self.mailed)
    @rule(n=nth, purpose=st.sampled_from([*ROUTES]))
    def use_for_something_else(self, n: int, purpose: str) -> None:
        """A link works for nothing but what it was mailed for."""
        link = _nth(self.mailed, n)
        if link.purpose != purpose:
            self.post(f"/v1/{ROUTES[purpose]}", {"token": link.text}, 400)

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
        account = _nth(self.model.accounts, n)
        self.sign_in(account.email, account.password or PASSWORDS[0])

    @rule(n=nth)
    def who_am_i(self, n: int) -> None:
        """A device asks whose it is."""
        mine = self.a_session(n)
        status = self.model.who(mine)
        answer = self.send("GET", "/v1/me", None, mine, status)
        assert status == 401 or answer["id"] == mine.account.id

    @rule(n=nth, everywhere=st.booleans())
    def sign_out(self, n: int, everywhere: bool) -> None:
        """A device signs out, or all of somebody's."""
        mine = self.a_session(n)
        status = self.model.end_all(mine) if everywhere else self.model.end_session(mine, mine)
        path = f"/v1/me/sessions{'' if everywhere else '/current'}"
        self.send("DELETE", path, None, mine, status)

    @rule(n=nth, m=nth)
    def sign_out_there(self, n: int, m: int) -> None:
        """A device signs out another, of whomever."""
        mine, other = self.a_session(n), self.a_session(m)
        rows = self.world.rows(
            "SELECT id FROM sessions WHERE token_digest = $1", digest_of_text(other.text)
        )
        status = self.model.end_session(mine, other)
        session_id = rows[0][0] if rows else uuid.uuid4()
        self.send("DELETE", f"/v1/me/sessions/{session_id}", None, mine, status)

    # one's own account

    @rule(n=nth, username=usernames, locale=st.sampled_from(["en", "ru"]))
    def rename(self, n: int, username: str, locale: str) -> None:
        """Somebody takes another name."""
        mine = self.a_session(n)
        status = self.model.rename(mine, username, locale)
        self.send("PATCH", "/v1/me", {"username": username, "locale": locale}, mine, status)

    @rule(n=nth, guess=guesses, new=new_passwords)
    def change_password(self, n: int, guess: str, new: str) -> None:
        """Somebody changes a password."""
        mine = self.a_session(n)
        current = guess or mine.account.password
        status = self.model.change_password(mine, current, new, is_good=new in PASSWORDS)
        body = {"current_password": current, "new_password": new}
        self.send("PUT", "/v1/me/password", body, mine, status)

    @rule(n=nth, email=emails, guess=guesses, is_sent=st.booleans())
    def change_email(self, n: int, email: str, guess: str, is_sent: bool) -> None:
        """Somebody wants another address."""
        mine = self.a_session(n)
        password = guess or mine.account.password
        status = self.model.change_email(mine, email, password)
        self.send("POST", "/v1/me/email", {"email": email, "password": password}, mine, status)
        if is_sent:
            self.deliver()

    @rule(n=nth, guess=guesses, is_sent=st.booleans())
    def delete_me(self, n: int, guess: str, is_sent: bool) -> None:
        """Somebody leaves."""
        mine = self.a_session(n)
        password = guess or mine.account.password
        status = self.model.delete_me(mine, password)
        self.send("POST", "/v1/me/deletion", {"password": password}, mine, status)
        if is_sent:
            self.deliver()

    # admins

    @rule(
        n=nth,
        email=emails,
        username=usernames,
        password=st.none() | passwords,
        role=st.sampled_from(["user", "user", "support", "admin"]),
        is_active=st.sampled_from([True, True, False]),
        email_verified=st.booleans(),
        is_sent=st.booleans(),
    )
    def create(self, n: int, is_sent: bool, **body: Any) -> None:
        """An admin creates a user."""
        mine = self.an_admin(n)
        if body["password"] is None:
            del body["password"]
        status = self.model.may_create(mine, body["email"], body["username"])
        answer = self.send("POST", "/v1/users", body, mine, status)
        if status == 201:
            self.model.created(mine, body).id = answer["id"]
        if is_sent:
            self.deliver()

    @precondition(lambda self: self.model.accounts or self.gone)
    @rule(n=nth, m=nth, changes=changes, is_stale=st.sampled_from([False, False, False, True]))
    def patch(self, n: int, m: int, changes: dict[str, Any], is_stale: bool) -> None:
        """An admin changes a user."""
        mine, account = self.an_admin(n), self.an_account(m)
        stale = f" {account.version + 1}" if is_stale else ""
        status = self.model.patch(mine, account, changes, is_stale=is_stale)
        self.send("PATCH", f"/v1/users/{account.id}{stale}", changes, mine, status)

    @precondition(lambda self: self.model.accounts or self.gone)
    @rule(n=nth, m=nth, is_active=st.booleans())
    def disable_or_enable(self, n: int, m: int, is_active: bool) -> None:
        """An admin shuts somebody out, or in."""
        self.patch(n, m, {"is_active": is_active}, False)

    @precondition(lambda self: self.model.accounts or self.gone)
    @rule(n=nth, m=nth, at_once=st.booleans(), is_sent=st.booleans())
    def delete(self, n: int, m: int, at_once: bool, is_sent: bool) -> None:
        """An admin has somebody erased."""
        mine, account = self.an_admin(n), self.an_account(m)
        status = self.model.delete(mine, account, at_once=at_once)
        path = f"/v1/users/{account.id}{'?erase=now' if at_once else ''}"
        self.send("DELETE", path, None, mine, status)
        if at_once and status == 204:
            self.gone.append(account)
        if is_sent:
            self.deliver()

    # what people do in one go, so that an example gets far

    @rule(email=emails, username=usernames, password=passwords)
    def join(self, email: str, username: str, password: str) -> None:
        """Somebody registers, opens the mail, and signs in."""
        self.fill_a_form("registrations", email, True)
        self.follow("registration", username, password)
        self.sign_in(email, password)

    @rule(email=emails, password=passwords)
    def come_back(self, email: str, password: str) -> None:
        """Somebody who forgot the password sets one, and signs in."""
        self.fill_a_form("password-resets", email, True)
        self.follow("password-reset", "", password)
        self.sign_in(email, password)

    @rule(n=nth, email=emails)
    def move(self, n: int, email: str) -> None:
        """Somebody moves to another address."""
        self.change_email(n, email, "", True)
        self.follow("email-change")

    @precondition(lambda self: self.mailed)
    @rule(purpose=st.sampled_from(["email-undo", "deletion-undo"]))
    def change_ones_mind(self, purpose: str) -> None:
        """Somebody undoes what was done last."""
        self.follow(purpose)

    def follow(self, purpose: str, username: str = "", password: str = "") -> None:
        """Open the last link for that, if there is one."""
        nth = [link.purpose for link in reversed(self.mailed)]
        if purpose in nth:
            self.open_a_link(nth.index(purpose), username, password, False)

    # time

    @rule(by=leaps, is_tidied=st.booleans())
    def advance(self, by: timedelta, is_tidied: bool) -> None:
        """Time passes, and the housekeeper comes, or is late."""
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

    # two at once

    @rule(n=nth, m=nth, username=usernames)
    def race_for_a_name(self, n: int, m: int, username: str) -> None:
        """Two people want one name at once: one gets it."""
        pair = [self.a_session(n), self.a_session(m)]
        if pair[0].account is pair[1].account:
            return
        answers = self.world.together(*(self.renaming(mine, username) for mine in pair))
        told = list(zip(pair, (answer.status_code for answer in answers), strict=True))
        for mine, status in sorted(told, key=lambda one: one[1]):  # who got it was first
            assert status == self.model.rename(mine, username, mine.account.locale)

    async def renaming(self, mine: Session, username: str) -> httpx.Response:
        """Ask for another name."""
        token, agent = mine.text, mine.account.agent
        body = {"username": username}
        return await self.world.asking("PATCH", "/v1/me", body, token=token, agent=agent)

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

    def a_session(self, n: int) -> Session:
        """Give a session that was opened, the last first; mostly a live one."""
        live = [one for one in self.model.sessions if self.model.is_live(one)]
        return _nth(live if live and n < 4 else self.opened, n)

    def an_admin(self, n: int) -> Session:
        """Give a session, mostly one of an admin."""
        live = [one for one in self.model.sessions if self.model.is_live(one)]
        admins = [one for one in live if one.account.role == "admin"]
        return _nth(admins if admins and n < 4 else self.opened, n)

    def an_account(self, n: int) -> Account:
        """Give an account, or one that was erased."""
        return _nth([*self.gone, *self.model.accounts], n)


def _nth(things: list[T], n: int) -> T:
    return things[-1 - n % len(things)]


def test_life_of_accounts_model_api_and_rows_agree(
    databases: Databases, settings: Settings
) -> None:
    """Whatever people, admins and time do, the service does what the model says."""
    with contextlib.closing(World(databases, settings)) as world:
        play(world, lambda: Life(world), examples=22, steps=40, reached=REACHED)
