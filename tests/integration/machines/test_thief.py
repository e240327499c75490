"""A thief who knows the password and is signed in, against an owner who has but the old mailbox.

The thief changes the address, the password and the name, deletes, undoes, and waits. The owner
reads the mailbox sooner or later, and asks for a reset there. Whatever came before, within 30 days
of the first change the links in that mailbox give the account back, and then nothing that the thief
has is worth anything.
"""

import contextlib
from datetime import timedelta
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from denizen.db.testing import Databases
from denizen.settings import Settings
from support import a_user
from world import Letter, Machine, World, play

OWNER: Final = "owner@example.com"
THIEVES: Final = ("thief@example.net", "other@example.net")
STOLEN: Final = "a fine long passphrase 77"
CHOSEN: Final = "another long passphrase 78"  # by the thief
FRESH: Final = "third long one 79 wx"  # by the owner, in the end
ROUTES: Final = {
    "password-reset": "password-resets/confirm",
    "email-verification": "email-verifications/confirm",
    "email-change": "email-changes/confirm",
    "email-undo": "email-changes/undo",
    "deletion-undo": "deletions/undo",
}

nth = st.integers(0, 3)
addresses = st.sampled_from([*THIEVES, OWNER])
purposes = st.sampled_from([*ROUTES])


class Thief(Machine):
    """One account, two people."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.mailbox: dict[str, list[Letter]] = {}
        self.tokens: list[str] = []
        self.user_id = ""
        self.is_hasty = False

    @initialize(is_hasty=st.booleans())
    def begin(self, is_hasty: bool) -> None:
        """The owner has an account, and the thief a device that is signed in to it.

        A hasty owner who can have the password reset leaves it at that.
        """
        self.world.begin()
        self.is_hasty = is_hasty
        self.mailbox = {address: [] for address in (*THIEVES, OWNER)}
        user = a_user(self.world.denizen, email=OWNER, username="owner", password=STOLEN)
        self.user_id = str(self.world.run(user).id)
        self.thief_signs_in()

    # the thief

    def thief_signs_in(self) -> None:
        """The thief signs in once more, wherever and with whatever that is possible."""
        for email in (OWNER, *THIEVES):
            for password in (STOLEN, CHOSEN):
                body = {"email": email, "password": password}
                answer = self.world.ask("POST", "/v1/sessions", body)
                if answer.status_code == 201:
                    self.tokens.append(answer.json()["token"])
                    return

    def thief_sends(self, method: str, path: str, field: str, body: dict[str, str]) -> None:
        """The thief sends a request that asks for the password."""
        if self.world.ask("GET", "/v1/me", token=self.tokens[-1]).status_code == 401:
            self.thief_signs_in()
        for password in (STOLEN, CHOSEN):
            told = {field: password, **body}
            if self.world.ask(method, path, told, token=self.tokens[-1]).status_code != 403:
                return

    @rule()
    def thief_changes_the_password(self) -> None:
        """The thief changes the password."""
        body = {"new_password": CHOSEN}
        self.thief_sends("PUT", "/v1/me/password", "current_password", body)

    @rule(email=addresses)
    def thief_asks_for_a_move(self, email: str) -> None:
        """The thief wants another address for the account."""
        self.thief_sends("POST", "/v1/me/email", "password", {"email": email})

    @rule(email=st.sampled_from(THIEVES))
    def thief_moves(self, email: str) -> None:
        """The thief moves the account to a mailbox of one's own."""
        self.thief_asks_for_a_move(email)
        self.mail_arrives()
        self.thief_opens_a_link(email, 0, "email-change")

    @rule()
    def thief_seems_to_give_it_back(self) -> None:
        """The thief moves the account back, and the owner agrees."""
        self.thief_asks_for_a_move(OWNER)
        self.mail_arrives()
        for letter in self.owners_letters("email-change")[-1:]:
            self.open(letter, STOLEN)

    @rule()
    def thief_deletes(self) -> None:
        """The thief has the account erased."""
        self.thief_sends("POST", "/v1/me/deletion", "password", {})

    @rule()
    def thief_signs_out(self) -> None:
        """The thief signs everybody out."""
        self.world.ask("DELETE", "/v1/me/sessions", token=self.tokens[-1])

    @rule(email=addresses, form=st.sampled_from(["password-resets", "email-verifications"]))
    def thief_fills_a_form(self, email: str, form: str) -> None:
        """The thief asks for mails."""
        self.world.ask("POST", f"/v1/{form}", {"email": email})

    @rule(email=st.sampled_from(THIEVES), n=nth, purpose=purposes)
    def thief_opens_a_link(self, email: str, n: int, purpose: str) -> None:
        """The thief opens a link."""
        found = [one for one in self.mailbox[email] if one.purpose == purpose]
        if found:
            self.open(found[-1 - n % len(found)], CHOSEN)

    # the owner, and time

    @rule()
    def mail_arrives(self) -> None:
        """All mails arrive."""
        for letter in self.world.deliver():
            self.mailbox[letter.to].append(letter)

    @precondition(lambda self: self.mailbox[OWNER])
    @rule(n=nth)
    def owner_opens_a_link(self, n: int) -> None:
        """The owner opens one of the links that came, whatever it is for, and leaves it at that."""
        letters = [one for one in self.mailbox[OWNER] if one.token]
        if letters:
            self.open(letters[-1 - n % len(letters)], STOLEN)

    @rule()
    def owner_asks_for_a_reset(self) -> None:
        """The owner asks for a link."""
        self.world.ask("POST", "/v1/password-resets", {"email": OWNER})

    @precondition(lambda self: self.world.denizen.clock.skew < timedelta(days=20))
    @rule(by=st.sampled_from([timedelta(hours=2), timedelta(days=2), timedelta(days=8)]))
    def time_passes(self, by: timedelta) -> None:
        """Time passes, in all less than 30 days."""
        self.world.advance(by)
        self.world.tidy()

    # what always holds

    @invariant()
    def somebody_has_it(self) -> None:
        """The account is there."""
        assert not self.user_id or self.world.rows("SELECT FROM users")

    def teardown(self) -> None:
        """In the end the owner gets the account back, and the thief has nothing of it."""
        if not self.user_id:
            return
        self.owner_comes_back()
        self.thief_tries_everything()
        self.world.advance(timedelta(days=30) - self.world.denizen.clock.skew)
        self.thief_tries_everything()

    def owner_comes_back(self) -> None:
        """The owner sets a password, after opening the undo links, the newest first, if need be."""
        if not self.is_hasty or self.owner_resets() is None:
            self.mail_arrives()
            for purpose in ("email-undo", "deletion-undo"):
                for letter in reversed(self.owners_letters(purpose)):
                    self.open(letter, FRESH)
            assert self.owner_resets() == 204
        self.owner_is_in()

    def owner_resets(self) -> int | None:
        """The owner asks for a link and sets a password; None when no link comes."""
        before = len(self.owners_letters("password-reset"))
        self.owner_asks_for_a_reset()
        self.mail_arrives()
        came = self.owners_letters("password-reset")[before:]
        return self.open(came[-1], FRESH) if came else None

    def owners_letters(self, purpose: str) -> list[Letter]:
        """Give the letters to the owner with links of a kind."""
        return [one for one in self.mailbox[OWNER] if one.purpose == purpose]

    def owner_is_in(self) -> None:
        """The owner can sign in, to the same account."""
        body = {"email": OWNER, "password": FRESH}
        answer = self.world.ask("POST", "/v1/sessions", body)
        assert answer.status_code == 201, answer.text
        assert answer.json()["user"]["id"] == self.user_id

    def thief_tries_everything(self) -> None:
        """No device, no password and no link of the thief's works any more."""
        for token in self.tokens:
            assert self.world.ask("GET", "/v1/me", token=token).status_code == 401
        for email in (OWNER, *THIEVES):
            for password in (STOLEN, CHOSEN):
                body = {"email": email, "password": password}
                assert self.world.ask("POST", "/v1/sessions", body).status_code == 401
            self.thief_fills_a_form(email, "password-resets")
        self.mail_arrives()
        for letter in (letter for email in THIEVES for letter in self.mailbox[email]):
            if letter.purpose in ROUTES:
                assert self.open(letter, CHOSEN) == 400, letter
        self.owner_is_in()

    # small steps

    def open(self, letter: Letter, password: str) -> int:
        """Open a link and give the status."""
        body = {"token": letter.token}
        if letter.purpose == "password-reset":
            body["password"] = password
        return self.world.ask("POST", f"/v1/{ROUTES[letter.purpose]}", body).status_code


def test_owner_with_the_old_mailbox_gets_the_account_back_from_a_thief(
    databases: Databases, settings: Settings
) -> None:
    """Whatever a thief did with the password, the links that were mailed lead back."""
    with contextlib.closing(World(databases, settings)) as world:
        reached = [f"POST /v1/{path}" for path in ROUTES.values() if "verif" not in path]
        play(world, lambda: Thief(world), examples=25, steps=15, reached=reached)
