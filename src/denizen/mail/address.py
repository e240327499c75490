"""Who mails are from: `DENIZEN_MAIL_FROM`, an address with or without a name."""

import re
from dataclasses import dataclass
from email.headerregistry import Address
from typing import Final, Self

from email_validator import EmailNotValidError, validate_email

_NAMED: Final = re.compile(r'"?([^"<>\\]{0,79}[^"<>\\ ])"? *<([^<>]+)>')


class SenderError(ValueError):
    """Raised when the text is no sender; says what one looks like."""

    def __init__(self) -> None:
        super().__init__(
            "must be an address, with or without a name: Example <no-reply@example.org>"
        )


@dataclass(frozen=True, slots=True)
class Sender:
    """An address that every mail server takes (ASCII), and the name shown with it, or none."""

    address: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `no-reply@example.org` or `Example <no-reply@example.org>`.

        Raises:
            SenderError: it is neither.
        """
        parts = _NAMED.fullmatch(text)
        name, address = parts.groups() if parts else ("", text)
        try:
            found = validate_email(
                address,
                allow_smtputf8=False,
                allow_empty_local=False,
                allow_quoted_local=False,
                allow_domain_literal=False,
                allow_display_name=False,
                check_deliverability=False,
                globally_deliverable=False,
                test_environment=True,  # allows `.test`
            )
        except EmailNotValidError:
            raise SenderError from None
        if found.ascii_email is None or not name.isprintable():
            raise SenderError
        return cls(found.ascii_email, name)

    @property
    def domain(self) -> str:
        """The domain, for Message-IDs and for greeting servers."""
        return self.address.rpartition("@")[2]

    @property
    def header(self) -> Address:
        """What stands in `From`."""
        return Address(self.name, addr_spec=self.address)
