"""The sessions table beside a users table, and the token that opens one.

A session is a signed-in device. Its rows are read outside the ORM, at every request, so this is a
plain table: `user_id` leads its primary key, and no row is reached without it.
"""

import base64
import binascii
import hashlib
import secrets
import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, DateTime, ForeignKey, Index, LargeBinary, Table, Uuid, func

PREFIX: Final = "dz_"
_SECRET_BYTES: Final = 32
_ENCODED_LENGTH: Final = 64  # 16 bytes of id and 32 of secret in base64url, no padding needed


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
        """Make a token for that user from the operating system's random source."""
        return cls(user_id, secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> "Token | None":
        """Read a token as callers send it; None for anything else."""
        encoded = text.removeprefix(PREFIX)
        if len(encoded) != _ENCODED_LENGTH or len(text) != len(PREFIX) + _ENCODED_LENGTH:
            return None
        if "+" in encoded or "/" in encoded:  # b64decode takes the other alphabet as well
            return None
        try:
            raw = base64.b64decode(encoded.encode("ascii"), b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return None
        return cls(uuid.UUID(bytes=raw[:16]), raw[16:])

    @property
    def text(self) -> str:
        """The token as the caller keeps it: `dz_` and base64url(id, secret)."""
        return PREFIX + base64.urlsafe_b64encode(self.user_id.bytes + self.secret).decode()

    @property
    def digest(self) -> bytes:
        """What is stored: SHA-256 of the secret, enough for 256 random bits (ASVS 6.5.2)."""
        return hashlib.sha256(self.secret).digest()


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
