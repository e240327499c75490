"""Statements about audit events; they take `db`. Other slices record through here."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, Table, distinct, func, insert, select, text, update
from uuid_utils.compat import uuid7

from denizen.audit.model import ADDRESS_MAX, AGENT_MAX, IS_ON_OTHERS, Actor, as_reason
from denizen.db.model import Model
from denizen.db.paging import Order, Page, fetch_page
from denizen.db.purging import purge_some
from denizen.db.unit import Db

_LATEST: Final = 10_000


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
    await db.execute(insert(audit).values(values))


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
    limit: int,
    cursor: str | None,
) -> Page[Row[Any]]:
    """Give one page of events, the newest first, in one statement.

    Raises:
        CursorError: the cursor is not one of this list.
    """
    statement = select(audit)
    if user_id is not None:
        statement = statement.where(audit.c.user_id == user_id)
    if action is not None:
        statement = statement.where(audit.c.action == action)
    order = Order("id", (audit.c.id,), descending=True)
    filters = (user_id, action)
    return await fetch_page(db, statement, order, limit=limit, cursor=cursor, filters=filters)


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
    oldest = uuid.UUID(int=int(older_than.timestamp() * 1000) << 80)  # ids are in order of time
    return await purge_some(db, audit, audit.c.id < oldest)


def _is_ours(audit: Table) -> bool:
    """Whether our migrations made it, with the functions beside it; a host's has any name."""
    return audit.metadata is Model.metadata
