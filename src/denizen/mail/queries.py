"""Statements about the outbox; they take `db`. Other slices queue their mails through here."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Float,
    Interval,
    Row,
    Table,
    and_,
    cast,
    delete,
    extract,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from uuid_utils.compat import uuid7

from denizen.audit.model import ADDRESS_MAX, AGENT_MAX, NOBODY, Actor
from denizen.clock import Instant
from denizen.db.purging import purge_some
from denizen.db.unit import Db
from denizen.mail.message import Kind
from denizen.users.values import email_key

KEPT: Final = timedelta(days=30)  # how long it is known that a mail was sent, or never was
COUNTED: Final = 100_000  # mails: a tenth of a second
# of mails that were not sent; their addresses may be strangers'
_TOLD: Final = ("id", "kind", "user_id", "created_at", "attempts", "next_try_at", "error")
# what leads to an account; notices are sent whatever happens meanwhile
_LEADING_IN: Final = (
    "email_verification",
    "invitation",
    "password_reset",
    "email_change",
    "email_change_undone",
)


async def enqueue(
    db: Db,
    outbox: Table,
    kind: Kind,
    email: str,
    *,
    actor: Actor,
    locale: str,
    user_id: uuid.UUID | None = None,
) -> uuid.UUID:
    """Queue a mail in the caller's transaction and give the id of the request.

    Args:
        db: the session of the act.
        outbox: the table.
        kind: what it is about.
        email: the address: the mailbox, or whose account is looked for when it is sent.
        actor: who asks; the mail tells from where.
        locale: the language, where no account has one.
        user_id: whose it is, where that is known already.
    """
    request_id = uuid7()
    facts = {
        "address": (actor.address or "")[:ADDRESS_MAX],
        "user_agent": (actor.user_agent or "")[:AGENT_MAX],
    }
    values = {
        "id": request_id,
        "kind": kind,
        "user_id": user_id,
        "email": email,
        "email_key": email_key(email),
        "locale": locale,
        "facts": facts,
    }
    await db.execute(insert(outbox).values(values))
    return request_id


async def claim_due(
    db: Db, outbox: Table, *, limit: int, lease: timedelta, now: Instant
) -> Sequence[Row[Any]]:
    """Take mails that are due, for as long as the lease; no two workers get the same.

    A worker that dies has its mails tried again by whoever comes first after the lease.
    """
    due = (
        select(outbox.c.id)
        .where(outbox.c.next_try_at <= now)
        .order_by(outbox.c.next_try_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(outbox)
        .where(outbox.c.id.in_(due))
        .values(attempts=outbox.c.attempts + 1, next_try_at=now + literal(lease, Interval))
    )
    return (await db.execute(taken.returning(outbox))).all()


async def has_due(db: Db, outbox: Table, now: Instant) -> bool:
    """Whether a mail is due."""
    return bool(
        await db.scalar(select(select(outbox.c.id).where(outbox.c.next_try_at <= now).exists()))
    )


async def backlog(db: Db, outbox: Table, now: Instant) -> Row[Any]:
    """Count the mails that wait to be sent, `waiting`, and tell since when the first does."""
    age = func.coalesce(extract("epoch", now - func.min(outbox.c.created_at)), 0)
    statement = select(func.count().label("waiting"), cast(age, Float).label("age"))
    return (await db.execute(statement.where(outbox.c.next_try_at.is_not(None)))).one()


async def mark_done(db: Db, outbox: Table, mail_id: uuid.UUID, *, is_sent: bool) -> None:
    """Note that nothing is left to do; whom it went to is forgotten."""
    values: dict[str, Any] = {"email": None, "email_key": None, "facts": {}}
    values |= {"next_try_at": None, "error": None, "sent_at": func.now() if is_sent else None}
    await db.execute(update(outbox).where(outbox.c.id == mail_id).values(values))


async def put_off(
    db: Db, outbox: Table, mail_id: uuid.UUID, *, error: str, until: Instant | None
) -> None:
    """Note why a mail was not sent, and when it is tried again; None: never."""
    values = {"next_try_at": until, "error": error[:200]}
    await db.execute(update(outbox).where(outbox.c.id == mail_id).values(values))


async def forget_links(db: Db, outbox: Table, user_id: uuid.UUID, key: str) -> None:
    """Take back queued mails that would lead into an account."""
    theirs = or_(outbox.c.user_id == user_id, outbox.c.email_key == key)
    mine = (theirs, _may_be_sent(outbox.c), outbox.c.kind.in_(_LEADING_IN))
    await db.execute(delete(outbox).where(*mine))


async def forget_notices(
    db: Db, outbox: Table, user_id: uuid.UUID, since: uuid.UUID = NOBODY
) -> None:
    """Take back queued notices of changes of address, from that request on."""
    theirs = (outbox.c.user_id == user_id, outbox.c.kind == "email_changing")
    await db.execute(delete(outbox).where(*theirs, _may_be_sent(outbox.c), outbox.c.id >= since))


async def find_queued(db: Db, outbox: Table, kind: Kind, user_id: uuid.UUID) -> str | None:
    """Give where the latest mail of a kind about a user is to go, while it waits to be sent."""
    theirs = (outbox.c.user_id == user_id, outbox.c.kind == kind)
    waiting = select(outbox.c.email).where(*theirs, outbox.c.next_try_at.is_not(None))
    email: str | None = await db.scalar(waiting.order_by(outbox.c.id.desc()).limit(1))
    return email


async def forget_queued(db: Db, outbox: Table, kind: Kind, user_id: uuid.UUID) -> None:
    """Take back the mails of a kind about a user that wait to be sent."""
    theirs = (outbox.c.user_id == user_id, outbox.c.kind == kind)
    await db.execute(delete(outbox).where(*theirs, _may_be_sent(outbox.c)))


async def forget_person(db: Db, outbox: Table, user_id: uuid.UUID, key: str) -> None:
    """Remove every trace of a person."""
    theirs = or_(outbox.c.user_id == user_id, outbox.c.email_key == key)
    await db.execute(delete(outbox).where(theirs))


@dataclass(frozen=True, slots=True)
class MailCounts:
    """What became of the mails of some days.

    Attributes:
        sent: how many were sent, by the number of the day they were asked for, from 0.
        failed: how many never will be, likewise.
        waiting: how many are still to be sent.
        waiting_since: when the first of those was asked for.
        since: from when on all were counted: the first day, or later where there were too many.
        is_cut: whether there were too many.
    """

    sent: Mapping[int, int]
    failed: Mapping[int, int]
    waiting: int
    waiting_since: datetime | None
    since: datetime
    is_cut: bool


async def count_mails_by_day(
    db: Db, outbox: Table, midnights: Sequence[datetime], *, most: int = COUNTED
) -> MailCounts:
    """Count mails by the day they were asked for, in one statement: the latest `most` of them.

    Args:
        db: any session.
        outbox: the table.
        midnights: when the days begin, the first of them first.
        most: how many mails are looked at; more take longer than a page may.
    """
    latest = select(outbox).where(outbox.c.created_at >= midnights[0])
    some = latest.order_by(outbox.c.created_at.desc()).limit(most).subquery().c
    day = func.width_bucket(some.created_at, cast(list(midnights), ARRAY(DateTime(timezone=True))))
    waits = some.next_try_at.is_not(None)
    statement = select(
        day.label("day"),
        func.count().label("mails"),
        func.count().filter(some.sent_at.is_not(None)).label("sent"),
        func.count().filter(_is_failed(some)).label("failed"),
        func.count().filter(waits).label("waiting"),
        func.min(some.created_at).filter(waits).label("waiting_since"),
        func.min(some.created_at).label("at"),
    ).group_by(day)
    rows = (await db.execute(statement)).all()
    is_cut = sum(row.mails for row in rows) >= most
    return MailCounts(
        sent={row.day - 1: row.sent for row in rows},
        failed={row.day - 1: row.failed for row in rows},
        waiting=sum(row.waiting for row in rows),
        waiting_since=min((row.waiting_since for row in rows if row.waiting), default=None),
        since=min(row.at for row in rows) if is_cut else midnights[0],
        is_cut=is_cut,
    )


async def list_unsent(db: Db, outbox: Table, *, limit: int) -> Sequence[Row[Any]]:
    """Give mails that were tried in vain, the newest first: given up, or to be tried again.

    Among the latest, as many as a page has time to look through.
    """
    columns = outbox.c
    latest = select(outbox).order_by(columns.created_at.desc()).limit(COUNTED).subquery().c
    told = (latest[name] for name in _TOLD)
    failed = select(*told).where(latest.error.is_not(None), latest.sent_at.is_(None))
    return (await db.execute(failed.order_by(latest.created_at.desc()).limit(limit))).all()


async def count_waiting(db: Db, outbox: Table) -> tuple[int, datetime | None]:
    """Give how many mails wait to be sent, up to `COUNTED`, and since when the first does."""
    waiting = select(outbox.c.created_at).where(outbox.c.next_try_at.is_not(None))
    some = waiting.limit(COUNTED).subquery().c
    row = (await db.execute(select(func.count(), func.min(some.created_at)))).one()
    return row[0], row[1]


async def retry(
    db: Db, outbox: Table, ids: Collection[uuid.UUID], now: Instant
) -> Sequence[Row[Any]]:
    """Have mails that were given up tried once more; give the `kind` and `user_id` of those."""
    mine = (outbox.c.id.in_(ids), _is_failed(outbox.c))
    statement = update(outbox).where(*mine).values(next_try_at=now)
    return (await db.execute(statement.returning(outbox.c.kind, outbox.c.user_id))).all()


def _may_be_sent(columns: Any) -> ColumnElement[bool]:
    """Whether a mail waits, or was given up: an admin may have those tried once more."""
    return or_(columns.next_try_at.is_not(None), columns.error.is_not(None))


def _is_failed(columns: Any) -> ColumnElement[bool]:
    """Whether a mail was given up: nothing more is tried, and there is a reason."""
    return and_(columns.next_try_at.is_(None), columns.error.is_not(None))


async def purge(db: Db, outbox: Table, now: Instant) -> int:
    """Remove what was finished long ago."""
    is_old = outbox.c.created_at < now - literal(KEPT, Interval)
    return await purge_some(db, outbox, outbox.c.next_try_at.is_(None), is_old)
