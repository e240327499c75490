"""The outbox: mails still to be sent, as what they are about. No token ever stands in it.

A row is written in the transaction of its cause. Whose mail it is, whether it is sent at all and
the token of its link are found out by the worker that sends it, so that a form answers the same,
after the same statements, for every address.
"""

from collections.abc import Iterator

from sqlalchemy import Column, DateTime, Index, Integer, String, Table, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem

from denizen.db.model import companion
from denizen.users.values import EMAIL_KEY_MAX, EMAIL_MAX


@companion("outbox")
def outbox_table(users: Table, name: str) -> Iterator[SchemaItem]:
    """Give the outbox that belongs to a users table, in the same metadata."""
    del users
    instant = DateTime(timezone=True)
    yield Column("id", Uuid, primary_key=True)
    yield Column("kind", String(32), nullable=False)
    yield Column("user_id", Uuid)  # no foreign key: of some it is not known yet, or not any more
    yield Column("email", String(EMAIL_MAX))
    yield Column("email_key", String(EMAIL_KEY_MAX, collation="C"))
    yield Column("locale", String(8), nullable=False)
    yield Column("facts", JSONB, nullable=False)
    yield Column("created_at", instant, nullable=False, server_default=func.now())
    yield Column("attempts", Integer, nullable=False, server_default="0")
    yield Column("next_try_at", instant, server_default=func.now())  # null: nothing more to do
    yield Column("sent_at", instant)
    yield Column("error", String(200))
    yield Index(
        f"ix_{name}_next_try_at", "next_try_at", postgresql_where=text("next_try_at IS NOT NULL")
    )
    yield Index(f"ix_{name}_email_key", "email_key")
    yield Index(f"ix_{name}_user_id", "user_id")
    yield Index(f"ix_{name}_created_at", "created_at")
