"""Statements about audit events; they take `db`. Other slices record through here."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    Row,
    Table,
    Uuid,
    cast,
    distinct,
    func,
    insert,
    select,
    text,
    union_all,
    update,
)
from uuid_utils.compat import uuid7

from denizen.audit.model import ADDRESS_MAX, AGENT_MAX, IS_ON_OTHERS, Actor, as_reason
from denizen.clock import first_id
from denizen.db.model import Model
from denizen.db.paging import Order, Page, fetch_page
from denizen.db.purging import purge_some
from denizen.db.unit import Db

_LATEST: Final = 10_000
COUNTED: Final = 200_000  # events: a tenth of a second


async def record(
    db: Db,
    audit: Table,
    action: str,
    actor: Actor,
    user_id: uuid.UUID,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add an event in the caller's transaction.

    Args:
        db: the session of the act.
        audit: the table.
        action: `<thing>.<past participle>`.
        actor: who acted; a reason that they give is told beside `after`.
        user_id: whom it is about.
        before: the changed fields as they were, without secrets.
        after: the changed fields as they are, likewise.
    """
    reason = as_reason(actor.reason)
    values = {
        "user_id": user_id,
        "id": uuid7(),
        "action": action,
        "actor_kind": actor.kind,
        "actor_id": actor.id,
        "address": (actor.address or "")[:ADDRESS_MAX] or None,
        "user_agent": (actor.user_agent or "")[:AGENT_MAX] or None,
        "before": dict(before or {}),
        "after": dict(after or {}) | ({"reason": reason} if reason else {}),
    }
    await db.execute(insert(audit), values)


async def record_change(
    db: Db,
    audit: Table,
    action: str,
    actor: Actor,
    user_id: uuid.UUID,
    *,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    """Record what changed between two sets of facts, and nothing when nothing did."""
    changed = [name for name in after if before.get(name) != after[name]]
    if changed:
        was = {name: before[name] for name in changed if name in before}
        now = {name: after[name] for name in changed}
        await record(db, audit, action, actor, user_id, before=was, after=now)


async def events_about(db: Db, audit: Table, user_id: uuid.UUID) -> Sequence[Row[Any]]:
    """Give all events about a user, the oldest first."""
    statement = select(audit).where(audit.c.user_id == user_id).order_by(audit.c.id)
    return (await db.execute(statement)).all()


async def page_events(
    db: Db,
    audit: Table,
    *,
    user_id: uuid.UUID | None,
    action: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    cursor: str | None,
) -> Page[Row[Any]]:
    """Give one page of events from `since` to before `until`, the newest first, in one statement.

    Raises:
        CursorError: the cursor is not one of this list.
    """
    statement = select(audit)
    if user_id is not None:
        statement = statement.where(audit.c.user_id == user_id)
    if action is not None:
        statement = statement.where(audit.c.action == action)
    if since is not None:
        statement = statement.where(audit.c.id >= first_id(since))
    if until is not None:
        statement = statement.where(audit.c.id < first_id(until))
    order = Order("id", (audit.c.id,), descending=True)
    filters = (user_id, action, since, until)
    return await fetch_page(db, statement, order, limit=limit, cursor=cursor, filters=filters)


async def names_of(
    db: Db, users: Table, keys: Table, ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, str]:
    """Give the usernames of people and the names of keys; who is gone is left out."""
    people = select(users.c.id, users.c.username).where(users.c.id.in_(ids))
    programs = select(keys.c.id, keys.c.name).where(keys.c.id.in_(ids))
    return {row.id: row.username for row in await db.execute(union_all(people, programs))}


async def origin_of_sign_ins(db: Db, audit: Table, since: uuid.UUID) -> Row[Any]:
    """Count the latest `sign_ins` from any address, their `users` and `addresses`.

    `address` is one of them. Among the latest events, as many as a statement has time for.

    Args:
        db: any session.
        audit: the table.
        since: the smallest UUIDv7 of the moment to begin at: ids are indexed, in order of time.
    """
    latest = select(audit).where(audit.c.id >= since).order_by(audit.c.id.desc())
    events = latest.limit(_LATEST).subquery().c
    statement = select(
        func.count().label("sign_ins"),
        func.count(distinct(events.user_id)).label("users"),
        func.count(distinct(events.address)).label("addresses"),
        func.max(events.address).label("address"),
    ).where(events.action == "session.started", events.address.is_not(None))
    return (await db.execute(statement)).one()


@dataclass(frozen=True, slots=True)
class DayCounts:
    """How many events of each kind there were on some days.

    Attributes:
        counts: by the day's number from 0, and the action.
        since: from when on all were counted: the first day, or later where there were too many.
        is_cut: whether there were too many.
    """

    counts: Mapping[tuple[int, str], int]
    since: datetime
    is_cut: bool

    def of(self, day: int, actions: Iterable[str]) -> int:
        """Give how many events of these kinds there were on that day."""
        return sum(self.counts.get((day, action), 0) for action in actions)


async def count_by_day(
    db: Db, audit: Table, midnights: Sequence[datetime], *, most: int = COUNTED
) -> DayCounts:
    """Count events by day and action in one statement: the latest `most` of them.

    Args:
        db: any session.
        audit: the table.
        midnights: when the days begin, the first of them first.
        most: how many events are looked at; more take longer than a page may.
    """
    ids = [first_id(at) for at in midnights]
    latest = select(audit.c.id, audit.c.at, audit.c.action).where(audit.c.id >= ids[0])
    some = latest.order_by(audit.c.id.desc()).limit(most).subquery().c
    day = func.width_bucket(some.id, cast(ids, ARRAY(Uuid)))
    statement = select(
        day.label("day"), some.action, func.count().label("events"), func.min(some.at).label("at")
    ).group_by(day, some.action)
    rows = (await db.execute(statement)).all()
    is_cut = sum(row.events for row in rows) >= most
    since = min(row.at for row in rows) if is_cut else midnights[0]
    return DayCounts({(row.day - 1, row.action): row.events for row in rows}, since, is_cut)


async def blank(db: Db, audit: Table, user_id: uuid.UUID) -> None:
    """Blank what events about a person say, and from where they acted on others; events stay.

    In the service the serving role may not change events: the owner's function does. In a host's
    database, whose tables the host makes, the statement is sent as it is.
    """
    if _is_ours(audit):
        await db.execute(text("SELECT audit_blank(:user_id)"), {"user_id": user_id})
        return
    origin: dict[str, Any] = {"address": None, "user_agent": None}
    mine, acted = audit.c.user_id == user_id, audit.c.actor_id == user_id
    await db.execute(update(audit).where(mine).values(origin | {"before": {}, "after": {}}))
    await db.execute(update(audit).where(acted, IS_ON_OTHERS).values(origin))


async def purge(db: Db, audit: Table, older_than: datetime) -> int:
    """Remove events from before that instant and give how many, as `purge_some` does."""
    if _is_ours(audit):
        return int(await db.scalar(text("SELECT audit_purge(:at)"), {"at": older_than}))
    return await purge_some(db, audit, audit.c.id < first_id(older_than))


def _is_ours(audit: Table) -> bool:
    """Whether our migrations made it, with the functions beside it; a host's has any name."""
    return audit.metadata is Model.metadata
