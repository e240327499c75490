"""Statements about one-time tokens; they take `db`. Other slices issue and consume through here."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import Interval, Row, Table, Uuid, delete, exists, func, insert, literal, select

from denizen.clock import Instant
from denizen.db.purging import purge_some
from denizen.db.unit import Db
from denizen.errors import TokenInvalidError
from denizen.tokens.model import LinkToken, Purpose
from denizen.users.model import UserMixin
from denizen.users.values import email_key

U = TypeVar("U", bound=UserMixin)

# of these every address that was given up keeps its own: whoever took an account over and changes
# its address twice must not take the first owner's way back
_SIDE_BY_SIDE: Final = frozenset({Purpose.EMAIL_UNDO})


@dataclass(frozen=True, slots=True)
class Issued:
    """A fresh token, shown this once, and when it expires."""

    token: LinkToken
    expires_at: datetime


async def issue(
    db: Db,
    tokens: Table,
    purpose: Purpose,
    user_id: uuid.UUID,
    *,
    request_id: uuid.UUID,
    now: Instant,
    life: timedelta,
    email: str | None = None,
    locale: str | None = None,
) -> Issued | None:
    """Store a token that supersedes those of earlier requests; None when a later one was here.

    Args:
        db: the session of the unit.
        tokens: the table.
        purpose: what it is good for.
        user_id: whose it is.
        request_id: a UUIDv7: the request that asked for it.
        now: `Clock.db_now`.
        life: how long it works.
        email: the address that it is about.
        locale: the language in which it was asked for.
    """
    mine = (tokens.c.user_id == user_id, tokens.c.purpose == purpose)
    # two mails of one owner may be made at once, by two workers
    await db.execute(select(func.pg_advisory_xact_lock(_lock(user_id))))
    if purpose not in _SIDE_BY_SIDE:
        if await db.scalar(select(exists().where(*mine, tokens.c.request_id > request_id))):
            return None
        await db.execute(delete(tokens).where(*mine, tokens.c.request_id < request_id))
    token = LinkToken.new(user_id)
    statement = insert(tokens).values(
        user_id=user_id,
        token_digest=token.digest,
        purpose=purpose,
        request_id=request_id,
        email=email,
        locale=locale,
        expires_at=now + literal(life, Interval),
    )
    return Issued(token, await db.scalar(statement.returning(tokens.c.expires_at)))


async def require_live(
    db: Db, tokens: Table, purpose: Purpose, token: LinkToken | None, now: Instant
) -> Row[Any]:
    """Give the row of a token that would work now, and leave it.

    Raises:
        TokenInvalidError: it would not, whatever the reason.
    """
    if token is None:
        raise TokenInvalidError
    row = (await db.execute(select(tokens).where(*_live(tokens, purpose, token, now)))).first()
    if row is None:
        raise TokenInvalidError
    return row


async def find_live(
    db: Db, tokens: Table, purpose: Purpose, user_id: uuid.UUID, now: Instant
) -> Row[Any] | None:
    """Give the row of an owner's latest token of a purpose that would work now."""
    mine = (tokens.c.user_id == user_id, tokens.c.purpose == purpose, tokens.c.expires_at > now)
    latest = select(tokens).where(*mine).order_by(tokens.c.request_id.desc()).limit(1)
    return (await db.execute(latest)).first()


async def consume(
    db: Db, tokens: Table, purpose: Purpose, token: LinkToken | None, now: Instant
) -> Row[Any]:
    """Take a token, in the transaction of what it is good for, and give its row.

    Of many that take one token at once, one gets it: the others wait for the row and find it gone.

    Raises:
        TokenInvalidError: used, expired, superseded, of another purpose, or never issued.
    """
    if token is None:
        raise TokenInvalidError
    taken = delete(tokens).where(*_live(tokens, purpose, token, now)).returning(tokens)
    row = (await db.execute(taken)).first()
    if row is None:
        raise TokenInvalidError
    return row


async def open_link(
    db: Db,
    model: type[U],
    tokens: Table,
    purpose: Purpose,
    token: LinkToken | None,
    *,
    now: Instant,
) -> tuple[Row[Any], U]:
    """Take a user's token, as `consume`, and give its row and the user, locked.

    The user first, as in everything that changes one and voids links: nobody waits in a circle.

    Raises:
        TokenInvalidError: as `consume`.
    """
    user = None if token is None else await model.lock(db, token.user_id)
    row = await consume(db, tokens, purpose, token, now)
    if user is None:
        raise TokenInvalidError
    return row, user


async def void(db: Db, tokens: Table, user_id: uuid.UUID, *purposes: Purpose) -> None:
    """Make an owner's tokens of these purposes worthless, or all of them."""
    mine = delete(tokens).where(tokens.c.user_id == user_id)
    await db.execute(mine.where(tokens.c.purpose.in_(purposes)) if purposes else mine)


async def void_since(
    db: Db, tokens: Table, purpose: Purpose, user_id: uuid.UUID, request_id: uuid.UUID
) -> None:
    """Void an owner's tokens of one purpose that come from this request or a later one."""
    mine = (tokens.c.user_id == user_id, tokens.c.purpose == purpose)
    await db.execute(delete(tokens).where(*mine, tokens.c.request_id >= request_id))


async def find_undo(
    db: Db, tokens: Table, user_id: uuid.UUID, key: str, now: Instant
) -> uuid.UUID | None:
    """Give the first request that left a way back to an address, by its key; None without any."""
    mine = (tokens.c.user_id == user_id, tokens.c.purpose == Purpose.EMAIL_UNDO)
    live = select(tokens.c.email, tokens.c.request_id).where(*mine, tokens.c.expires_at > now)
    rows = (await db.execute(live.order_by(tokens.c.request_id))).all()
    return next((row.request_id for row in rows if email_key(row.email) == key), None)


async def purge(db: Db, tokens: Table, now: Instant) -> int:
    """Remove what has expired."""
    return await purge_some(db, tokens, tokens.c.expires_at <= now)


def _live(tokens: Table, purpose: Purpose, token: LinkToken, now: Instant) -> tuple[Any, ...]:
    return (
        tokens.c.user_id == literal(token.user_id, Uuid),
        tokens.c.token_digest == token.digest,
        tokens.c.purpose == purpose,
        tokens.c.expires_at > now,
    )


def _lock(user_id: uuid.UUID) -> int:
    """Give the number of an owner's advisory lock: 63 bits of the id, which never meet in vain."""
    return user_id.int >> 65
