"""The table of API keys, their scopes, and the secret that a service carries."""

from typing import Final, Literal, get_args

from sqlalchemy import ARRAY, Column, DateTime, LargeBinary, String, Table, Uuid, func

Scope = Literal["users:read", "users:write", "audit:read", "sessions:read", "metrics:read"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
KEY_PREFIX: Final = "dzk_"
NAME_MAX: Final = 80


def keys_table(users: Table) -> Table:
    """Give the table of keys in the metadata of a users table."""
    name = "api_keys" if users.name == "users" else f"{users.name}_api_keys"
    if (known := users.metadata.tables.get(name)) is not None:
        return known
    return Table(
        name,
        users.metadata,
        Column("id", Uuid, primary_key=True),
        Column("name", String(NAME_MAX), nullable=False),
        Column("secret_digest", LargeBinary(32), nullable=False),
        Column("scopes", ARRAY(String(32)), nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        # keys survive whoever made them, so this is no foreign key
        Column("created_by", Uuid),
        Column("expires_at", DateTime(timezone=True)),
        Column("revoked_at", DateTime(timezone=True)),
        Column("last_used_at", DateTime(timezone=True)),
    )
