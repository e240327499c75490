"""Bearer secrets: an id that says where to look, and 256 random bits of which a digest is stored.

Sessions and API keys (and links in mail) are of this one shape; their prefixes tell them apart.
"""

import base64
import binascii
import hashlib
import secrets
import uuid
from typing import Final

_SECRET_BYTES: Final = 32
_ENCODED_LENGTH: Final = 64  # 16 bytes of id and 32 of secret in base64url, no padding needed


def new_secret() -> bytes:
    """Give 256 bits from the operating system's random source."""
    return secrets.token_bytes(_SECRET_BYTES)


def digest_of(secret: bytes) -> bytes:
    """Give what is stored: SHA-256, enough for 256 random bits (ASVS 6.5.2)."""
    return hashlib.sha256(secret).digest()


def encode(prefix: str, owner_id: uuid.UUID, secret: bytes) -> str:
    """Give the text that its owner keeps: the prefix and base64url(id, secret)."""
    return prefix + base64.urlsafe_b64encode(owner_id.bytes + secret).decode()


def decode(prefix: str, text: str) -> tuple[uuid.UUID, bytes] | None:
    """Read such a text, in its one spelling; None for anything else."""
    encoded = text.removeprefix(prefix)
    if len(encoded) != _ENCODED_LENGTH or len(text) != len(prefix) + _ENCODED_LENGTH:
        return None
    if "+" in encoded or "/" in encoded:  # b64decode takes the other alphabet as well
        return None
    try:
        raw = base64.b64decode(encoded.encode("ascii"), b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return uuid.UUID(bytes=raw[:16]), raw[16:]
