"""The sessions table beside a users table, and the token that opens one.

A session is a signed-in device. Its rows are read outside the ORM, at every request, so this is a
plain table: `user_id` leads its primary key, and no row is reached without it.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Column, DateTime, ForeignKey, Index, LargeBinary, String, Table, Uuid, func
from sqlalchemy.schema import SchemaItem

from denizen.audit.model import ADDRESS_MAX, AGENT_MAX
from denizen.db.model import companion
from denizen.secret import decode, digest_of, encode, new_secret

PREFIX: Final = "dz_"
NETWORK_MAX: Final = 49  # an IPv6 network in its longest spelling
SESSION_LIFE: Final = timedelta(days=30)  # NIST SP 800-63B-4, AAL1: at most 30 days
IDLE_LIFE: Final = timedelta(days=7)  # without a request
SESSIONS_SHOWN: Final = 100  # of a user, the last used; there may be any number
NETWORK_LIFE: Final = timedelta(days=365)  # how long a network is remembered after a sign-in
SEEN_EVERY: Final = timedelta(minutes=1)  # how finely "last seen" is kept


@dataclass(frozen=True, slots=True)
class Token:
    """An opaque bearer token: whose it is, and 256 random bits of which only a digest is stored."""

    user_id: uuid.UUID
    secret: bytes

    def __repr__(self) -> str:
        """Leave the secret out."""
        return f"Token(user_id={self.user_id})"

    @classmethod
    def new(cls, user_id: uuid.UUID) -> "Token":
        """Make a token for that user."""
        return cls(user_id, new_secret())

    @classmethod
    def parse(cls, text: str) -> "Token | None":
        """Read a token as callers send it; None for anything else."""
        found = decode(PREFIX, text)
        return None if found is None else cls(*found)

    @property
    def text(self) -> str:
        """The token as the caller keeps it."""
        return encode(PREFIX, self.user_id, self.secret)

    @property
    def digest(self) -> bytes:
        """What is stored."""
        return digest_of(self.secret)


@companion("sessions")
def sessions_table(users: Table, name: str) -> Iterator[SchemaItem]:
    """Give the sessions table that belongs to a users table, in the same metadata."""
    instant = DateTime(timezone=True)
    yield Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), primary_key=True)
    yield Column("token_digest", LargeBinary(32), primary_key=True)
    yield Column("id", Uuid, nullable=False)
    yield Column("created_at", instant, nullable=False, server_default=func.now())
    yield Column("last_seen_at", instant, nullable=False, server_default=func.now())
    yield Column("expires_at", instant, nullable=False)
    yield Column("address", String(ADDRESS_MAX))
    yield Column("user_agent", String(AGENT_MAX))
    yield Index(f"ix_{name}_user_id_id", "user_id", "id", unique=True)
    yield Index(f"ix_{name}_last_seen_at", "last_seen_at")


@companion("known_networks")
def networks_table(users: Table, name: str) -> Iterator[SchemaItem]:
    """Give the table of networks from which somebody has signed in before.

    Whoever guesses passwords from elsewhere shuts out guessers, not the owner (`throttle`).
    """
    yield Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), primary_key=True)
    yield Column("network", String(NETWORK_MAX), primary_key=True)
    yield Column("last_used_at", DateTime(timezone=True), nullable=False)
    yield Index(f"ix_{name}_last_used_at", "last_used_at")
