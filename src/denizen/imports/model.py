"""The tables of imports beside a users table, and why a row may not be taken.

An import is a row that says how far it has come. It changes in the transactions that change the
users it tells of: whatever dies, whoever goes on knows where.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    LargeBinary,
    String,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from denizen.audit.model import ADDRESS_MAX, AGENT_MAX, Actor, ActorKind

OnConflict = Literal["skip", "update", "fail"]
State = Literal["waiting", "checking", "writing", "checked", "finished", "failed", "stopped"]
UNDER_WAY: Final = ("waiting", "checking", "writing")
LABEL_MAX: Final = 200
CONFLICTS: Final = ("email_taken", "username_taken", "id_taken")

# A stable word for each reason, and a sentence for people; none repeats what was read.
REASONS: Final[Mapping[str, str]] = {
    "columns": "The row has another number of cells than the first line.",
    "json_invalid": "The line is not a JSON object.",
    "email_missing": "There is no e-mail address.",
    "email_invalid": "This is not an e-mail address.",
    "email_taken": "The e-mail address belongs to a user already.",
    "username_invalid": "A username has 1 to 64 letters or digits of any script, no @, no spaces.",
    "username_taken": "The username belongs to another user.",
    "id_invalid": "This is not a UUID.",
    "id_taken": "The id belongs to another user.",
    "hash_unknown": (
        "This is no hash of argon2, bcrypt, scrypt or pbkdf2; no password is taken in plain text."
    ),
    "hash_costly": "To check this hash would take more than a second or 128 MiB.",
    "role_invalid": "A role is user, support or admin.",
    "role_kept": "An import does not change administrators and support staff.",
    "locale_invalid": "A locale is en or ru.",
    "is_active_invalid": "This is neither true nor false.",
    "email_verified_invalid": "This is neither true nor false.",
    "instant_invalid": "This is not an instant (RFC 3339) from 1970 until now.",
    "version_invalid": "A version is a whole number from 1.",
    "deleted": "The user is marked as deleted.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the records of a file so far; `done` is the sum of the others."""

    done: int = 0
    created: int = 0
    updated: int = 0
    skipped: int = 0
    refused: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Add up."""
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in COUNTS})


COUNTS: Final = ("done", "created", "updated", "skipped", "refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """An import as it stands.

    Attributes:
        label: what people call it: the file's own name, never a path of ours.
        path: the operator's own file; None: an upload, in the data folder.
        options: what was asked for, without secrets.
        is_checked: the file was read through against the database, and writing may begin.
        runner: who is at it.
        records: how many the file has; None before it was read through.
        rate: records a second, lately.
        problem: why it failed: `code`, `message`, `line`.
    """

    id: uuid.UUID
    label: str
    path: str | None
    size: int
    digest: bytes | None
    options: dict[str, Any]
    state: State
    is_checked: bool
    runner: uuid.UUID | None
    records: int | None
    done: int
    created: int
    updated: int
    skipped: int
    refused: int
    rate: float | None
    problem: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None
    actor_kind: ActorKind
    actor_id: uuid.UUID | None
    address: str | None
    user_agent: str | None

    @property
    def counts(self) -> Counts:
        """What became of the records so far."""
        return Counts(**{name: getattr(self, name) for name in COUNTS})

    @property
    def actor(self) -> Actor:
        """Who asked for it."""
        return Actor(self.actor_kind, self.actor_id, self.address, self.user_agent)


def imports_table(users: Table) -> Table:
    """Give the table of imports into a users table, in the same metadata."""
    name = "imports" if users.name == "users" else f"{users.name}_imports"
    if (known := users.metadata.tables.get(name)) is not None:
        return known
    instant = DateTime(timezone=True)
    return Table(
        name,
        users.metadata,
        Column("id", Uuid, primary_key=True),
        Column("label", String(LABEL_MAX), nullable=False),
        Column("path", Text),
        Column("size", BigInteger, nullable=False),
        Column("digest", LargeBinary(32)),
        Column("options", JSONB, nullable=False),
        Column("secret", Text),  # a project's hash parameters, as long as they are needed
        Column("state", String(16), nullable=False),
        Column("is_checked", Boolean, nullable=False),
        Column("runner", Uuid),
        Column("beat_at", instant),  # when the runner was last heard of
        Column("records", BigInteger),
        *(Column(count, BigInteger, nullable=False) for count in COUNTS),
        Column("rate", Double),
        Column("problem", JSONB),
        Column("created_at", instant, nullable=False, server_default=func.now()),
        Column("finished_at", instant),
        Column("actor_kind", String(16), nullable=False),
        Column("actor_id", Uuid),
        Column("address", String(ADDRESS_MAX)),
        Column("user_agent", String(AGENT_MAX)),
    )


def refusals_table(users: Table) -> Table:
    """Give the table of the rows that imports did not take."""
    imports = imports_table(users)
    name = "import_refusals" if users.name == "users" else f"{users.name}_import_refusals"
    if (known := users.metadata.tables.get(name)) is not None:
        return known
    return Table(
        name,
        users.metadata,
        Column(
            "import_id",
            Uuid,
            ForeignKey(imports.c.id, ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
        ),
        Column("record", BigInteger, primary_key=True),
        Column("line", BigInteger, nullable=False),
        Column("field", String(32), nullable=False),
        Column("code", String(32), nullable=False),
    )
