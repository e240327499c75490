"""A stranger and the owner of a mailbox, in every order: the stranger ends with nothing of it.

The stranger knows the address, has a mailbox and perhaps an account, and never reads the owner's
mail. The owner reads it sooner or later, and opens what fits: the link of a registration, a reset
or a confirmation, whoever asked for it; a change of address only after asking for one.
"""

import contextlib
import uuid
from collections.abc import Iterable
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from denizen.db.testing import Databases
from denizen.settings import Settings
from denizen.tokens.model import LinkToken, registration_id
from support import a_user
from world import Letter, Machine, World, play

OWNER: Final = "owner@example.com"
SECOND: Final = "second@example.com"  # the owner's as well
OWNERS: Final = frozenset({OWNER, SECOND})
STRANGER: Final = "stranger@example.net"
OTHER: Final = "other@example.net"  # the stranger's as well
PASSWORD: Final = "a fine long passphrase 77"
GUESS: Final = "another long passphrase 78"  # all that the stranger ever types
LINK_ROUTES: Final = {
    "registration": "registrations/confirm",
    "password-reset": "password-resets/confirm",
    "email-verification": "email-verifications/confirm",
    "email-change": "email-changes/confirm",
    "email-undo": "email-changes/undo",
    "deletion-undo": "deletions/undo",
}

nth = st.integers(0, 3)
owners = st.sampled_from([OWNER, "OWNER@example.com", SECOND])
strangers = st.sampled_from([STRANGER, OTHER])
forms = st.sampled_from(["registrations", "password-resets", "email-verifications"])


class Stranger(Machine):
    """Two people and one service."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.mailbox: dict[str, list[Letter]] = {}
        self.answers: dict[str, tuple[Any, ...]] = {}  # the first to each of the stranger's tries
        self.tokens: list[str] = []  # of the stranger's devices
        self.token = ""  # of the owner's
        self.admin = ""

    @initialize()
    def begin(self) -> None:
        """An admin is there."""
        world, email = self.world, "admin@example.com"
        world.begin()
        world.run(a_user(world.denizen, email=email, password=PASSWORD, role="admin"))
        self.admin = self.signed_in(email, PASSWORD)

    # the stranger

    @rule(form=forms, email=owners)
    def stranger_fills_a_form(self, form: str, email: str) -> None:
        """The stranger types the owner's address wherever one can be typed."""
        self.learn(form, "POST", f"/v1/{form}", {"email": email}, status=202)

    @rule(email=owners)
    def stranger_guesses_a_password(self, email: str) -> None:
        """The stranger guesses."""
        body = {"email": email, "password": GUESS}
        self.learn("sign in", "POST", "/v1/sessions", body, status=401)

    @rule(email=owners, purpose=st.sampled_from([*LINK_ROUTES]), is_registration=st.booleans())
    def stranger_guesses_a_link(self, email: str, purpose: str, is_registration: bool) -> None:
        """The stranger makes a token up, with the owner's id, which is no secret."""
        rows = self.world.rows("SELECT id FROM users WHERE email_key = $1", email.casefold())
        user_id = rows[0][0] if rows and not is_registration else registration_id(email)
        body = _body(purpose, LinkToken.new(user_id).text, GUESS, "stranger")
        self.learn("link", "POST", f"/v1/{LINK_ROUTES[purpose]}", body, status=400)

    @rule(form=forms, email=strangers)
    def stranger_asks_for_mail(self, form: str, email: str) -> None:
        """The stranger asks for something of one's own."""
        self.learn(form, "POST", f"/v1/{form}", {"email": email}, status=202)

    @rule(email=strangers, n=nth, purpose=st.sampled_from([*LINK_ROUTES]), path=st.none() | forms)
    def stranger_opens_a_link(self, email: str, n: int, purpose: str, path: str | None) -> None:
        """The stranger opens a link of one's own, and tries its token elsewhere."""
        if (letter := self.a_letter(email, n, purpose)) is None:
            return
        body = _body(purpose, letter.token, GUESS, f"stranger{n}")
        answer = self.world.ask("POST", f"/v1/{LINK_ROUTES[purpose]}", body)
        assert answer.status_code in {201, 204, 400, 409}
        if path is not None and path != LINK_ROUTES[purpose].partition("/")[0]:
            there = {"registrations": "registration", "password-resets": "password-reset"}
            body = _body(there.get(path, ""), letter.token, GUESS, "stranger9")
            self.learn("link", "POST", f"/v1/{path}/confirm", body, status=400)

    @rule(email=strangers)
    def stranger_signs_in(self, email: str) -> None:
        """The stranger signs in to an account of one's own, if there is one."""
        answer = self.world.ask("POST", "/v1/sessions", {"email": email, "password": GUESS})
        if answer.status_code == 201:
            self.tokens.append(answer.json()["token"])

    @rule(n=nth, email=owners | strangers)
    def stranger_moves(self, n: int, email: str) -> None:
        """The stranger wants the owner's address for an account of one's own."""
        if token := self.a_token(n):
            body = {"email": email, "password": GUESS}
            self.learn("move", "POST", "/v1/me/email", body, token=token, status=202)

    @rule(n=nth)
    def stranger_leaves(self, n: int) -> None:
        """The stranger deletes an account of one's own."""
        if token := self.a_token(n):
            body = {"password": GUESS}
            self.learn("leave", "POST", "/v1/me/deletion", body, token=token, status=202)

    @rule(email=strangers)
    def stranger_joins(self, email: str) -> None:
        """The stranger makes an account of one's own."""
        self.stranger_asks_for_mail("registrations", email)
        self.mail_arrives()
        self.stranger_opens_a_link(email, 0, "registration", None)
        self.stranger_signs_in(email)

    # the owner

    @rule()
    def mail_arrives(self) -> None:
        """All mails arrive."""
        for letter in self.world.deliver():
            self.mailbox.setdefault(letter.to.casefold(), []).append(letter)

    @rule(email=owners, form=forms)
    def owner_fills_a_form(self, email: str, form: str) -> None:
        """The owner asks for a mail."""
        self.world.ask("POST", f"/v1/{form}", {"email": email})

    @rule(
        email=owners,
        n=nth,
        purpose=st.sampled_from(["registration", "password-reset", "email-verification"]),
    )
    def owner_opens_a_link(self, email: str, n: int, purpose: str) -> None:
        """The owner opens a link that came, whoever asked for it."""
        if letter := self.a_letter(email, n, purpose):
            body = _body(purpose, letter.token, PASSWORD, f"owner{n}")
            self.world.ask("POST", f"/v1/{LINK_ROUTES[purpose]}", body)

    @rule(n=nth, email=owners)
    def owner_follows_an_own_wish(self, n: int, email: str) -> None:
        """The owner opens a link of one's own account: to move, to undo, to stay."""
        mine = self.owners_ids()
        letters = [
            letter
            for letter in self.letters([email.casefold()])
            if letter.purpose in {"email-change", "email-undo", "deletion-undo"}
            and _id_in(letter) in mine
        ]
        if letters:
            letter = letters[-1 - n % len(letters)]
            self.world.ask("POST", f"/v1/{LINK_ROUTES[letter.purpose]}", {"token": letter.token})

    @rule(email=owners)
    def owner_signs_in(self, email: str) -> None:
        """The owner signs in."""
        answer = self.world.ask("POST", "/v1/sessions", {"email": email, "password": PASSWORD})
        if answer.status_code == 201:
            self.token = answer.json()["token"]

    @rule(email=owners)
    def owner_joins(self, email: str) -> None:
        """The owner makes an account."""
        self.owner_fills_a_form(email, "registrations")
        self.mail_arrives()
        self.owner_opens_a_link(email, 0, "registration")
        self.owner_signs_in(email)

    @precondition(lambda self: self.token)
    @rule(email=owners)
    def owner_moves(self, email: str) -> None:
        """The owner wants the other address."""
        body = {"email": email, "password": PASSWORD}
        self.world.ask("POST", "/v1/me/email", body, token=self.token)

    @precondition(lambda self: self.token)
    @rule()
    def owner_leaves(self) -> None:
        """The owner deletes the account."""
        self.world.ask("POST", "/v1/me/deletion", {"password": PASSWORD}, token=self.token)

    @rule(email=owners, password=st.sampled_from([None, PASSWORD]), verified=st.booleans())
    def admin_creates(self, email: str, password: str | None, verified: bool) -> None:
        """An admin makes an account for the owner."""
        body: dict[str, Any] = {"email": email, "username": "made", "email_verified": verified}
        body |= {"password": password} if password else {}
        self.world.ask("POST", "/v1/users", body, token=self.admin)

    @rule(email=owners, how=st.sampled_from(["", "?erase=now"]))
    def admin_deletes(self, email: str, how: str) -> None:
        """An admin deletes the owner's account."""
        rows = self.world.rows("SELECT id FROM users WHERE email_key = $1", email.casefold())
        if rows:
            self.world.ask("DELETE", f"/v1/users/{rows[0][0]}{how}", token=self.admin)

    # what always holds

    @invariant()
    def stranger_has_no_password(self) -> None:
        """What the stranger types opens no account at an address of the owner's."""
        for email in OWNERS:
            body = {"email": email, "password": GUESS}
            self.learn("sign in", "POST", "/v1/sessions", body, status=401)

    @invariant()
    def stranger_has_no_session(self) -> None:
        """No device of the stranger's is signed in to an account at an address of the owner's."""
        for token in self.tokens:
            answer = self.world.ask("GET", "/v1/me", token=token)
            assert answer.status_code == 401 or answer.json()["email"].casefold() not in OWNERS

    @invariant()
    def stranger_has_no_name(self) -> None:
        """No account at an address of the owner's has a name that the stranger chose."""
        names = self.world.rows(
            "SELECT username FROM users WHERE email_key = ANY($1)", list(OWNERS)
        )
        assert not any(name.startswith("stranger") for (name,) in names)

    @invariant()
    def mail_is_everybody_s_own(self) -> None:
        """The stranger's mailboxes have no link to an account of the owner's."""
        owners = self.owners_ids()
        assert not any(_id_in(letter) in owners for letter in self.letters([STRANGER, OTHER]))

    # small steps

    def learn(
        self, what: str, method: str, path: str, body: Any, *, status: int, token: str = ""
    ) -> None:
        """Send something of the stranger's: the answer to it is always the same."""
        answer = self.world.ask(method, path, body, token=token)
        headers = {k: v for k, v in answer.headers.items() if k != "date"}
        seen = (answer.status_code, headers, answer.content)
        assert seen == self.answers.setdefault(what, seen)
        assert answer.status_code == status, answer.text

    def owners_ids(self) -> set[uuid.UUID]:
        """Give the accounts at the owner's addresses."""
        sql = "SELECT id FROM users WHERE email_key = ANY($1)"
        return {row[0] for row in self.world.rows(sql, list(OWNERS))}

    def letters(self, emails: Iterable[str]) -> list[Letter]:
        """Give the letters with a link in some mailboxes."""
        return [one for email in emails for one in self.mailbox.get(email, ()) if one.token]

    def a_letter(self, email: str, n: int, purpose: str) -> Letter | None:
        """Give a letter for that, the last first, if there is one."""
        found = [one for one in self.letters([email.casefold()]) if one.purpose == purpose]
        return found[-1 - n % len(found)] if found else None

    def a_token(self, n: int) -> str:
        """Give a live session of the stranger's, or nothing."""
        live = [
            token
            for token in self.tokens
            if self.world.ask("GET", "/v1/me", token=token).status_code == 200
        ]
        return live[-1 - n % len(live)] if live else ""

    def signed_in(self, email: str, password: str) -> str:
        """Sign in and give the token."""
        answer = self.world.ask("POST", "/v1/sessions", {"email": email, "password": password})
        token: str = answer.json()["token"]
        return token


def _body(purpose: str, token: str, password: str, username: str) -> dict[str, str]:
    body = {"token": token}
    if purpose in {"registration", "password-reset"}:
        body["password"] = password
    if purpose == "registration":
        body["username"] = username
    return body


def _id_in(letter: Letter) -> uuid.UUID:
    token = LinkToken.parse(letter.token)
    assert token is not None
    return token.user_id


def test_stranger_at_an_owners_address_ends_with_nothing(
    databases: Databases, settings: Settings
) -> None:
    """No password, no session, no name, and no word on whether there is an account."""
    with contextlib.closing(World(databases, settings)) as world:
        reached = [f"POST /v1/{path}" for path in LINK_ROUTES.values()]
        play(world, lambda: Stranger(world), examples=25, steps=25, reached=reached)
