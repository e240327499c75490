"""One mail before it is put into words: which kind, for whom, in which language, with what facts.

Nothing here knows the database or the network; the words stand in `templates/`.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, get_args

from denizen.errors import InvalidError
from denizen.mail.errors import PermanentMailError
from denizen.users.values import Locale, email_on_wire

Kind = Literal[
    "registration",  # to an address that nobody has confirmed: nothing a stranger typed is in it
    "registration_known",
    "email_verification",  # of an account that an admin or an import made
    "invitation",
    "password_reset",
    "password_changed",  # a notice, with the way out when it was somebody else
    "email_change",  # to the new address; as unconfirmed as a registration
    "email_changing",  # to the old address, with the undo link
    "email_change_undone",  # to the address that is back: who changed it knew the password
    "email_moved",  # to the old address, when somebody else changed it
    "deletion",
    "test",  # to whoever wants to know whether mails arrive
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

LINKS: Final = frozenset({"link", "reset_link"})
INSTANTS: Final = frozenset({"at", "expires_at", "erase_at"})
# who asked; only beside `at`, and only where it is known
ORIGIN: Final = frozenset({"address", "user_agent"})
FACTS: Final[Mapping[Kind, frozenset[str]]] = {
    "registration": frozenset({"link", "expires_at"}),
    "registration_known": frozenset({"link", "reset_link"}),
    "email_verification": frozenset({"link", "expires_at"}),
    "invitation": frozenset({"link", "expires_at", "username"}),
    "password_reset": frozenset({"link", "expires_at", "at"}),
    "password_changed": frozenset({"link", "at"}),
    "email_change": frozenset({"link", "expires_at"}),
    "email_changing": frozenset({"link", "expires_at", "at"}),
    "email_change_undone": frozenset({"link", "expires_at"}),
    "email_moved": frozenset({"link", "at"}),
    "deletion": frozenset({"link", "erase_at", "at"}),
    "test": frozenset({"link", "at"}),
}
_LINK: Final = re.compile(r"https?://[!#-;=?-~]{1,2000}")  # printable ASCII without `"`, `<`, `>`


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail to be rendered; one that can't be right is refused when it is made.

    Attributes:
        message_id: the row that it came from: a retry is the same message, byte for byte.
        queued_at: the `Date` of the message, with a time zone.
        facts: what `FACTS` lists for the kind, and `ORIGIN` where there is an `at`.

    Raises:
        PermanentMailError: the recipient is no single address, or facts are missing, foreign or
            malformed.
    """

    kind: Kind
    recipient: str = field(repr=False)
    locale: Locale
    facts: Mapping[str, str | datetime] = field(repr=False)
    message_id: uuid.UUID
    queued_at: datetime

    def __post_init__(self) -> None:
        self.address  # noqa: B018  # it raises
        needed = FACTS[self.kind]
        allowed = needed | ORIGIN if "at" in needed else needed
        if not needed <= self.facts.keys() <= allowed:
            raise PermanentMailError(f"{self.kind} takes the facts {', '.join(sorted(allowed))}")
        for name, value in self.facts.items():
            if not _is_sound(name, value):
                raise PermanentMailError(f"{self.kind} has a malformed {name}")

    @property
    def address(self) -> str:
        """The recipient as mail servers take it."""
        try:
            return email_on_wire(self.recipient)
        except InvalidError:
            raise PermanentMailError("the recipient is not one e-mail address") from None


def _is_sound(name: str, value: str | datetime) -> bool:
    if name in INSTANTS:
        return isinstance(value, datetime) and value.tzinfo is not None
    return isinstance(value, str) and (name not in LINKS or _LINK.fullmatch(value) is not None)
