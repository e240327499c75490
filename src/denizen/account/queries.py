"""All that is held about a person, put together; takes `db`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Row

from denizen.audit.queries import events_about
from denizen.clock import Instant
from denizen.db.unit import Db
from denizen.sessions.queries import list_networks, list_sessions
from denizen.tables import Tables
from denizen.users.model import UserMixin

_SESSIONS: Final = 10_000  # a program may sign in all day; so many are some megabytes
U = TypeVar("U", bound=UserMixin)


@dataclass(frozen=True, slots=True)
class Holdings(Generic[U]):
    """A user, their live sessions, the networks they came from, and the events about them."""

    user: U
    sessions: Sequence[Row[Any]]
    networks: Sequence[Row[Any]]
    events: Sequence[Row[Any]]


async def holdings_of(db: Db, tables: Tables, user: U, now: Instant) -> Holdings[U]:
    """Give all that is held about a user."""
    return Holdings(
        user,
        await list_sessions(db, tables.sessions, user.id, now, limit=_SESSIONS),
        await list_networks(db, tables.networks, user.id),
        await events_about(db, tables.audit, user.id),
    )
