"""The post of a test: sends what is queued into the folder of mails, and reads it for people."""

import email
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from denizen.app import Denizen
from denizen.users.model import UserModel
from mailserver import link_in


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that came: the link in it, if any, leads to `purpose` with `token`."""

    message: EmailMessage
    purpose: str
    token: str

    @classmethod
    def read(cls, message: EmailMessage) -> "Letter":
        """Read a mail."""
        link = urlsplit(link_in(message))
        token = parse_qs(link.query).get("token", [""])[0]
        return cls(message, link.path.removeprefix("/account/"), token)

    @property
    def subject(self) -> str:
        """The subject."""
        return str(self.message["Subject"])


class Post:
    """Delivers mails, and remembers which were read."""

    def __init__(self, denizen: Denizen[UserModel], folder: Path) -> None:
        self._denizen = denizen
        self._folder = folder
        self._read: set[Path] = set()

    async def deliver(self) -> None:
        """Send all that is due."""
        while await self._denizen.mail.send_due():
            pass

    async def all_to(self, address: str) -> list[Letter]:
        """Deliver, and give what is new for an address, in the order of its coming."""
        await self.deliver()
        found = []
        for path in sorted(set(self._folder.glob("*.eml")) - self._read):
            message = email.message_from_bytes(path.read_bytes(), policy=default)
            if message["To"] == address:
                self._read.add(path)
                found.append(Letter.read(message))
        return found

    async def one_to(self, address: str) -> Letter:
        """Deliver, and give the one mail that is new for an address."""
        letters = await self.all_to(address)
        assert len(letters) == 1, [letter.subject for letter in letters]
        return letters[0]
