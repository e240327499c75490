"""The sessions table beside a users table, and the token that opens one.

A session is a signed-in device. Its rows are read outside the ORM, at every request, so this is a
plain table: `user_id` leads its primary key, and no row is reached without it.
"""

import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, DateTime, ForeignKey, Index, LargeBinary, Table, Uuid, func

from denizen.secret import decode, digest_of, encode, new_secret

PREFIX: Final = "dz_"


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


def sessions_table(users: Table) -> Table:
    """Give the sessions table that belongs to a users table, in the same metadata."""
    metadata = users.metadata
    name = "sessions" if users.name == "users" else f"{users.name}_sessions"
    if (known := metadata.tables.get(name)) is not None:
        return known
    return Table(
        name,
        metadata,
        Column(
            "user_id",
            Uuid,
            ForeignKey(users.c.id, ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
        ),
        Column("token_digest", LargeBinary(32), primary_key=True),
        Column("id", Uuid, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("expires_at", DateTime(timezone=True), nullable=False),
        Index(f"ix_{name}_user_id_id", "user_id", "id", unique=True),
    )
