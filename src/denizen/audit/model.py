"""The audit table beside a users table, and who acts, from where and why.

Rows are added in the transaction of the act and never changed: the role that serves may only add
and read. When a person is erased, what the rows say about them is blanked and the events stay, by a
function that belongs to the owner of the schema.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import Column, DateTime, Index, String, Table, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem

from denizen.db.model import companion

ActorKind = Literal["user", "key", "operator", "anonymous"]
ADDRESS_MAX: Final = 45  # an IPv6 address in its longest spelling
AGENT_MAX: Final = 256
IS_ON_OTHERS: Final = text("actor_id <> user_id")
REASON_MAX: Final = 200  # of what somebody gives as the reason
NOBODY: Final = uuid.UUID(int=0)  # whom an event is about when nobody is known


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and from where; an `operator` is at the command line or in a program of yours.

    Attributes:
        reason: why, in the actor's own words; every event of the act tells it, after `as_reason`.
    """

    kind: ActorKind
    id: uuid.UUID | None = None
    address: str | None = None
    user_agent: str | None = None
    reason: str = ""


OPERATOR: Final = Actor("operator")


def as_reason(text: str) -> str:
    """Give a reason as events tell it: one line of at most 200 characters, without control signs.

    A text for people to read, wherever it is shown; PostgreSQL's JSON holds no NUL.
    """
    line = "".join(sign if sign.isprintable() else " " for sign in text[: 4 * REASON_MAX])
    return " ".join(line.split())[:REASON_MAX]


@companion("audit_events")
def audit_table(users: Table, name: str) -> Iterator[SchemaItem]:
    """Give the audit table that belongs to a users table, in the same metadata."""
    del users
    # whom it is about: no foreign key, for the event outlives the user
    yield Column("user_id", Uuid, primary_key=True)
    yield Column("id", Uuid, primary_key=True)
    yield Column("at", DateTime(timezone=True), nullable=False, server_default=func.now())
    yield Column("action", String(64), nullable=False)
    yield Column("actor_kind", String(16), nullable=False)
    yield Column("actor_id", Uuid)
    yield Column("address", String(ADDRESS_MAX))
    yield Column("user_agent", String(AGENT_MAX))
    yield Column("before", JSONB, nullable=False)
    yield Column("after", JSONB, nullable=False)
    yield Index(f"ix_{name}_id", "id")
    # what admins and keys do to others: few, and looked for when one of them is erased
    yield Index(f"ix_{name}_actor_id", "actor_id", postgresql_where=IS_ON_OTHERS)
