"""The table of API keys, their scopes, and the secret that a service carries."""

from collections.abc import Iterator
from typing import Final, Literal, get_args

from sqlalchemy import ARRAY, Column, DateTime, LargeBinary, String, Table, Uuid, func
from sqlalchemy.schema import SchemaItem

from denizen.db.model import companion

Scope = Literal["users:read", "users:write", "audit:read", "sessions:read", "metrics:read"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
KEY_PREFIX: Final = "dzk_"
NAME_MAX: Final = 80


@companion("api_keys")
def keys_table(users: Table, name: str) -> Iterator[SchemaItem]:
    """Give the table of keys in the metadata of a users table."""
    del users, name
    yield Column("id", Uuid, primary_key=True)
    yield Column("name", String(NAME_MAX), nullable=False)
    yield Column("secret_digest", LargeBinary(32), nullable=False)
    yield Column("scopes", ARRAY(String(32)), nullable=False)
    yield Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())
    # keys survive whoever made them, so this is no foreign key
    yield Column("created_by", Uuid)
    yield Column("expires_at", DateTime(timezone=True))
    yield Column("revoked_at", DateTime(timezone=True))
    yield Column("last_used_at", DateTime(timezone=True))
