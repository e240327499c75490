"""The things of the account's life as the model has them: accounts, sessions, links, mails."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from denizen.users.values import Role

DAY: Final = timedelta(days=1)
GRACE: Final = 30 * DAY
IDLE: Final = 7 * DAY
LIFE: Final = {
    "registration": DAY,
    "email-verification": DAY,
    "email-change": DAY,
    "email-undo": 30 * DAY,
    "deletion-undo": 30 * DAY,
}
PURPOSE: Final = {
    "registration": "registration",
    "email_verification": "email-verification",
    "invitation": "password-reset",
    "password_reset": "password-reset",
    "email_change": "email-change",
    "email_changing": "email-undo",
    "email_change_undone": "password-reset",
    "deletion": "deletion-undo",
}
# to the mailbox that was named, whatever address the account has by now
NAMED: Final = frozenset({"registration", "email_change", "email_changing", "email_moved"})
# queued mails, and links, that lead into an account: void when it changes
MAILS_IN: Final = frozenset({"email_verification", "invitation", "password_reset", "email_change"})
LINKS_IN: Final = ("email-verification", "password-reset", "email-change")


@dataclass(eq=False, slots=True)
class Account:
    """Somebody's account; `id` is learnt from the answer."""

    serial: int
    email: str
    username: str
    password: str | None
    role: Role = "user"
    locale: str = "en"
    is_active: bool = True
    verified: bool = True
    version: int = 1
    erase_at: timedelta | None = None
    id: str = ""

    @property
    def key(self) -> str:
        """What makes two addresses the same."""
        return self.email.casefold()

    @property
    def is_open(self) -> bool:
        """Neither disabled nor about to be erased."""
        return self.is_active and self.erase_at is None

    @property
    def can_sign_in(self) -> bool:
        """Whether a right password opens a session."""
        return self.is_open and self.verified

    @property
    def agent(self) -> str:
        """A device that nobody else has."""
        return f"canary-{self.serial}"

    def facts(self) -> tuple[Any, ...]:
        """Give what an admin sees changed."""
        return (self.email, self.username, self.role, self.is_active, self.verified, self.locale)


@dataclass(eq=False, slots=True)
class Session:
    """A signed-in device; `text` and `id` are learnt from answers."""

    account: Account
    began: timedelta
    seen: timedelta
    text: str = ""


@dataclass(eq=False, slots=True)
class Link:
    """A token that was mailed; registrations belong to an address, all others to an account."""

    purpose: str
    owner: Account | str
    request: int
    email: str
    until: timedelta
    text: str = ""


@dataclass(eq=False, slots=True)
class Mail:
    """A mail that waits; `id` is learnt from its row."""

    number: int
    kind: str
    email: str
    account: Account | None = None
    id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A mail that is to arrive: where, and with which link."""

    mail: Mail
    to: str
    link: Link | None
