"""The table of one-time tokens, and what a link in mail carries.

A row is reached by whose it is and the digest of its secret. A registration belongs to nobody yet:
its owner is an id made from the address, so that all registrations of one address meet.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import Column, DateTime, Index, LargeBinary, String, Table, Uuid, func
from sqlalchemy.schema import SchemaItem

from denizen.db.model import companion
from denizen.secret import decode, digest_of, encode, new_secret
from denizen.users.values import EMAIL_MAX, email_key

_PREFIX: Final = "dzl_"
_ADDRESSES: Final = uuid.UUID("5f0e9d1c-6e0b-4b6c-9c0e-3f2f6d3c1a77")  # a namespace of our own


class Purpose(StrEnum):
    """What a token is good for; the word stands in the link's path."""

    REGISTRATION = "registration"
    EMAIL_VERIFICATION = "email-verification"
    PASSWORD_RESET = "password-reset"  # noqa: S105  # the word in a link
    EMAIL_CHANGE = "email-change"
    EMAIL_UNDO = "email-undo"
    DELETION_UNDO = "deletion-undo"
    FIRST_ADMIN = "first-admin"


DAY: Final = timedelta(days=1)
UNDO_LIFE: Final = timedelta(days=30)
LIFE: Final = {
    Purpose.REGISTRATION: DAY,
    Purpose.EMAIL_VERIFICATION: DAY,
    Purpose.EMAIL_CHANGE: DAY,
    Purpose.EMAIL_UNDO: UNDO_LIFE,
    Purpose.DELETION_UNDO: UNDO_LIFE,
    Purpose.FIRST_ADMIN: DAY,
}


@dataclass(frozen=True, slots=True)
class LinkToken:
    """An opaque token: whose it is, and 256 random bits of which only a digest is stored."""

    user_id: uuid.UUID
    secret: bytes

    def __repr__(self) -> str:
        """Leave the secret out."""
        return f"LinkToken(user_id={self.user_id})"

    @classmethod
    def new(cls, user_id: uuid.UUID) -> "LinkToken":
        """Make a token."""
        return cls(user_id, new_secret())

    @classmethod
    def parse(cls, text: str) -> "LinkToken | None":
        """Read a token as callers send it; None for anything else."""
        found = decode(_PREFIX, text)
        return None if found is None else cls(*found)

    @property
    def text(self) -> str:
        """The token as it stands in a link."""
        return encode(_PREFIX, self.user_id, self.secret)

    @property
    def digest(self) -> bytes:
        """What is stored."""
        return digest_of(self.secret)


def registration_id(email: str) -> uuid.UUID:
    """Give whose the registrations of an address are, in whatever spelling it comes."""
    return uuid.uuid5(_ADDRESSES, email_key(email))


@companion("tokens")
def tokens_table(users: Table, name: str) -> Iterator[SchemaItem]:
    """Give the table of tokens that belongs to a users table, in the same metadata."""
    del users
    # no foreign key: a registration's owner is no user yet
    yield Column("user_id", Uuid, primary_key=True)
    yield Column("token_digest", LargeBinary(32), primary_key=True)
    yield Column("purpose", String(32), nullable=False)
    # which request it answers: a mail sent twice carries two tokens of one request, both good
    yield Column("request_id", Uuid, nullable=False)
    yield Column("email", String(EMAIL_MAX))
    yield Column("locale", String(8))
    yield Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())
    yield Column("expires_at", DateTime(timezone=True), nullable=False)
    yield Index(f"ix_{name}_expires_at", "expires_at")
