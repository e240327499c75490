"""Statements about sessions; they take `db`, except "who am I", which is compiled once."""

import functools
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Executable,
    Interval,
    LargeBinary,
    Row,
    String,
    Table,
    Uuid,
    and_,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from uuid_utils.compat import uuid7

from denizen.audit.model import ADDRESS_MAX, AGENT_MAX, Actor
from denizen.audit.queries import record
from denizen.clock import NOW, Instant
from denizen.db.direct import CompiledStatement
from denizen.db.model import table_of
from denizen.db.purging import purge_some
from denizen.db.unit import Db
from denizen.sessions.model import (
    IDLE_LIFE,
    NETWORK_LIFE,
    SEEN_EVERY,
    SESSION_LIFE,
    SESSIONS_SHOWN,
    Token,
)
from denizen.tables import Tables
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)
# constants of a compiled statement: as parameters they would be sent at every request
_SEEN_EVERY: Final = f"interval '{SEEN_EVERY.total_seconds():.0f} s'"
_IDLE_LIFE: Final = f"interval '{IDLE_LIFE.total_seconds():.0f} s'"


def who_am_i(model: type[UserMixin], sessions: Table, dialect: Dialect) -> CompiledStatement:
    """Compile the read that every authenticated request makes: a live session with its user.

    Binds `user_id`, `token_digest` and `skew`. The columns are the user's, under their attribute
    names, and the session's `session_id`, `session_expires_at` and `is_seen`: whether it was noted
    lately that the session is in use.
    """
    statement = (
        select(
            *_columns(model),
            sessions.c.id.label("session_id"),
            sessions.c.expires_at.label("session_expires_at"),
            (sessions.c.last_seen_at > NOW - literal_column(_SEEN_EVERY)).label("is_seen"),
        )
        .select_from(sessions.join(table_of(model), sessions.c.user_id == model.id))
        .where(
            sessions.c.user_id == bindparam("user_id", type_=Uuid),
            sessions.c.token_digest == bindparam("token_digest", type_=LargeBinary),
            sessions.c.expires_at > NOW,
            sessions.c.last_seen_at > NOW - literal_column(_IDLE_LIFE),
            model.is_active,
        )
    )
    return CompiledStatement(statement, dialect)


def candidate(model: type[UserMixin], dialect: Dialect) -> CompiledStatement:
    """Compile the read of whoever has an address: binds `key`, gives the user's columns."""
    mine = select(*_columns(model)).where(model.email_key == bindparam("key", type_=String))
    return CompiledStatement(mine, dialect)


def known_network(networks: Table, dialect: Dialect) -> CompiledStatement:
    """Compile the read of a network that somebody has signed in from: `user_id`, `network`.

    Not one with `candidate`: this one is on the shard of one user, which no statement that begins
    with an address can be.
    """
    is_named = and_(
        networks.c.user_id == bindparam("user_id", type_=Uuid),
        networks.c.network == bindparam("network", type_=String),
    )
    return CompiledStatement(select(networks.c.user_id).where(is_named), dialect)


async def start_session(
    db: Db, user: UserMixin, sessions: Table, token: Token, *, actor: Actor, skew: timedelta
) -> datetime | None:
    """Insert a session and give when it ends; None when the user may not sign in any more.

    The user's row is locked and looked at again: between the check of the password and now the
    account may have been disabled or its password changed, and a session that slipped in would
    come to life again with the account.
    """
    values = {
        "whose": user.id,
        "hash": user.hashed_password,
        "digest": token.digest,
        "new": uuid7(),
        "place": (actor.address or "")[:ADDRESS_MAX] or None,
        "agent": (actor.user_agent or "")[:AGENT_MAX] or None,
        "skew": skew,
    }
    expires_at: datetime | None = await db.scalar(_starting(type(user), sessions), values)
    return expires_at


@functools.cache
def _starting(model: type[UserMixin], sessions: Table) -> Executable:
    """Give the statement, which takes longer to make than to run; no bind has a column's name."""
    values: dict[str, ColumnElement[Any]] = {
        "user_id": model.id,  # type: ignore[dict-item]  # a column it is, once mapped
        "token_digest": bindparam("digest", type_=LargeBinary),
        "id": bindparam("new", type_=Uuid),
        "created_at": NOW,
        "last_seen_at": NOW,
        "expires_at": NOW + literal(SESSION_LIFE, Interval),
        "address": bindparam("place", type_=String),
        "user_agent": bindparam("agent", type_=String),
    }
    still_same = select(*values.values()).where(
        model.id == bindparam("whose", type_=Uuid),
        model.is_active,
        model.email_verified_at.is_not(None),
        model.erase_after.is_(None),
        model.hashed_password == bindparam("hash", type_=String),
    )
    # SHARE waits for a disabling that is under way, and is waited for by the next one
    source = still_same.with_for_update(read=True)
    return insert(sessions).from_select(list(values), source).returning(sessions.c.expires_at)


async def remember_network(
    db: Db, networks: Table, user_id: uuid.UUID, network: str, skew: timedelta
) -> None:
    """Note that somebody has signed in from a network."""
    values = {"user_id": user_id, "network": network, "skew": skew}
    await db.execute(_remembering(networks), values)


@functools.cache
def _remembering(networks: Table) -> Executable:
    known = upsert(networks).values(last_used_at=NOW)
    return known.on_conflict_do_update(
        index_elements=["user_id", "network"], set_={"last_used_at": known.excluded.last_used_at}
    )


async def note_seen(db: Db, sessions: Table, token: Token, now: Instant) -> None:
    """Note that a session is in use, unless somebody else is about to: nobody waits for that."""
    digest = sessions.c.token_digest
    mine = select(digest).where(sessions.c.user_id == token.user_id, digest == token.digest)
    free = mine.with_for_update(skip_locked=True).scalar_subquery()
    statement = update(sessions).where(sessions.c.user_id == token.user_id, digest == free)
    await db.execute(statement.values(last_seen_at=now))


async def list_sessions(
    db: Db, sessions: Table, user_id: uuid.UUID, now: Instant, *, limit: int = SESSIONS_SHOWN
) -> Sequence[Row[Any]]:
    """Give a user's live sessions, the last used first; of a program that signs in, not all."""
    statement = select(sessions).where(sessions.c.user_id == user_id, *_live(sessions, now))
    order = (sessions.c.last_seen_at.desc(), sessions.c.id.desc())
    return (await db.execute(statement.order_by(*order).limit(limit))).all()


async def renew_hash(db: Db, user: UserMixin, hashed_password: str) -> None:
    """Replace a hash by one with current parameters, unless it was changed meanwhile.

    The person changed nothing, so neither `version` nor `updated_at` moves.
    """
    table = table_of(type(user))
    same = (table.c.id == user.id, table.c.hashed_password == user.hashed_password)
    values = {"hashed_password": hashed_password, "updated_at": table.c.updated_at}
    await db.execute(update(table).where(*same).values(values))


async def end_session(db: Db, sessions: Table, user_id: uuid.UUID, session_id: uuid.UUID) -> bool:
    """End one of a user's sessions; whether there was one."""
    mine = (sessions.c.user_id == user_id, sessions.c.id == session_id)
    result: Any = await db.execute(delete(sessions).where(*mine))
    return bool(result.rowcount)


async def end_all_sessions(
    db: Db, sessions: Table, user_id: uuid.UUID, *, but: uuid.UUID | None = None
) -> int:
    """End every session of a user, but one, and give how many there were."""
    theirs = delete(sessions).where(sessions.c.user_id == user_id)
    result: Any = await db.execute(theirs if but is None else theirs.where(sessions.c.id != but))
    return int(result.rowcount)


async def end_and_record(
    db: Db,
    tables: Tables,
    user_id: uuid.UUID,
    actor: Actor,
    *,
    but: uuid.UUID | None = None,
) -> int:
    """End every session of a user, but one, because somebody asked for that; give how many."""
    ended = await end_all_sessions(db, tables.sessions, user_id, but=but)
    after = {"sessions": ended}
    await record(db, tables.audit, "session.all_ended", actor, user_id, after=after)
    return ended


async def count_sessions(
    db: Db, sessions: Table, user_ids: Collection[uuid.UUID], now: Instant
) -> int:
    """Count the live sessions of some users."""
    theirs = select(func.count()).where(sessions.c.user_id.in_(user_ids), *_live(sessions, now))
    return int(await db.scalar(theirs))


async def list_networks(db: Db, networks: Table, user_id: uuid.UUID) -> Sequence[Row[Any]]:
    """Give the networks that a user has signed in from, the last used first."""
    theirs = select(networks).where(networks.c.user_id == user_id)
    return (await db.execute(theirs.order_by(networks.c.last_used_at.desc()))).all()


async def has_signed_in(db: Db, networks: Table, user_id: uuid.UUID) -> bool:
    """Whether somebody has signed in within a year."""
    theirs = select(networks.c.user_id).where(networks.c.user_id == user_id).limit(1)
    return await db.scalar(theirs) is not None


async def purge_over(db: Db, sessions: Table, now: Instant) -> int:
    """Remove sessions that stand idle; whose time is over will, for nothing is seen of it."""
    is_idle = sessions.c.last_seen_at <= now - literal(IDLE_LIFE, Interval)
    return await purge_some(db, sessions, is_idle)


async def purge_networks(db: Db, networks: Table, now: Instant) -> int:
    """Forget networks that nobody has signed in from for long."""
    is_old = networks.c.last_used_at <= now - literal(NETWORK_LIFE, Interval)
    return await purge_some(db, networks, is_old)


def _live(sessions: Table, now: Instant) -> tuple[ColumnElement[bool], ...]:
    is_used = sessions.c.last_seen_at > now - literal(IDLE_LIFE, Interval)
    return (sessions.c.expires_at > now, is_used)


def _columns(model: type[UserMixin]) -> list[ColumnElement[Any]]:
    """Give a user's columns under the names of their attributes."""
    return [attr.columns[0].label(attr.key) for attr in inspect(model).column_attrs]
