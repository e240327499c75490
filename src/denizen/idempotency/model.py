"""The table of keys that requests were sent under. Key and request stand in it as digests alone."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from sqlalchemy import Column, DateTime, Index, LargeBinary, SmallInteger, Table, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem

from denizen.db.model import companion

KEPT: Final = timedelta(hours=24)
# After that whoever claimed it is dead, or will find its claim gone: the deadlines of a request are
# shorter, and an upload claims when its file is there.
LEASE: Final = timedelta(seconds=20)
# Below it are the principals of forms that are open to everybody: such a form may name anybody, and
# its answers are found together. No id of a user or a key, which begin with a time or at random.
OPEN_END: Final = uuid.UUID(int=2**64)


def open_principal(digest: bytes) -> uuid.UUID:
    """Give who sends a form that is open to everybody: whoever has the cookie of that digest."""
    return uuid.UUID(int=int.from_bytes(digest[:8]))


@companion("idempotency_keys")
def idempotency_table(users: Table, name: str) -> Iterator[SchemaItem]:
    """Give the table of keys that belongs to a users table, in the same metadata."""
    del users
    instant = DateTime(timezone=True)
    yield Column("principal_id", Uuid, primary_key=True)  # a user or an API key
    yield Column("key_digest", LargeBinary(32), primary_key=True)
    yield Column("fingerprint", LargeBinary(32), nullable=False)
    yield Column("claim_id", Uuid, nullable=False)
    yield Column("claimed_at", instant, nullable=False, server_default=func.now())
    yield Column("status", SmallInteger)  # null: still running
    yield Column("headers", JSONB)
    yield Column("body", LargeBinary)
    yield Index(f"ix_{name}_claimed_at", "claimed_at")
