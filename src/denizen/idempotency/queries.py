"""Statements about idempotency keys; they take `db`.

A key is claimed in a unit of its own, before anything happens. The answer is stored in the
transaction of the effect: whoever finds one knows that the effect happened, and whoever finds none
knows that it did not.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    Interval,
    LargeBinary,
    Row,
    Table,
    Text,
    Uuid,
    any_,
    cast,
    delete,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from denizen.clock import Instant
from denizen.db.purging import purge_some
from denizen.db.unit import Db
from denizen.errors import IdempotencyBusyError, IdempotencyMismatchError
from denizen.idempotency.model import KEPT, LEASE, OPEN_END


@dataclass(frozen=True, slots=True)
class Claim:
    """One try at a request under a key.

    Attributes:
        principal_id: who asks.
        key_digest: of the key.
        fingerprint: of the request.
        id: of the try.
        is_sure: whether it is known that the claim stands.
    """

    principal_id: uuid.UUID
    key_digest: bytes
    fingerprint: bytes
    id: uuid.UUID
    is_sure: bool = True

    @property
    def of(self) -> tuple[uuid.UUID, bytes]:
        """Whose key, and which."""
        return self.principal_id, self.key_digest


async def claim_key(db: Db, keys: Table, claim: Claim, now: Instant) -> Row[Any] | None:
    """Claim a key; None when it is ours now, or else the row with the answer that was given.

    Raises:
        IdempotencyMismatchError: the key was used for another request.
        IdempotencyBusyError: a request with this key is running.
    """
    fresh = insert(keys).values(**_row(claim), claimed_at=now)
    is_dead = keys.c.status.is_(None) & (keys.c.claimed_at < now - literal(LEASE, Interval))
    is_old = keys.c.claimed_at < now - literal(KEPT, Interval)
    values = {name: fresh.excluded[name] for name in ("fingerprint", "claim_id", "claimed_at")}
    claimed = fresh.on_conflict_do_update(
        index_elements=["principal_id", "key_digest"],
        set_=values | {"status": None, "headers": None, "body": None},
        where=or_(is_dead, is_old),
    )
    if await db.scalar(claimed.returning(keys.c.claim_id)) is not None:
        return None
    row = (await db.execute(select(keys).where(*_same_key(keys, claim)))).first()
    if row is None:  # released in between
        raise IdempotencyBusyError
    if row.fingerprint != claim.fingerprint:
        raise IdempotencyMismatchError
    if row.status is None:
        raise IdempotencyBusyError
    return row


async def keep_answer(
    db: Db, keys: Table, claim: Claim, *, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Store the answer in the transaction of the effect.

    Raises:
        IdempotencyBusyError: the claim took too long and is somebody else's; the effect must not
            stand.
    """
    mine = (*_same_key(keys, claim), keys.c.claim_id == claim.id, keys.c.status.is_(None))
    values = {"status": status, "headers": dict(headers), "body": body}
    result: Any = await db.execute(update(keys).where(*mine).values(values))
    if not result.rowcount:
        raise IdempotencyBusyError


async def release_key(db: Db, keys: Table, claim: Claim) -> None:
    """Give the key back after a refused try; an answer that was stored after all stays.

    A claim that is not sure may still be under way: its row, which nobody sees yet, is waited for.
    """
    if not claim.is_sure:
        await db.execute(insert(keys).values(**_row(claim)).on_conflict_do_nothing())
    mine = (*_same_key(keys, claim), keys.c.claim_id == claim.id, keys.c.status.is_(None))
    await db.execute(delete(keys).where(*mine))


async def purge(db: Db, keys: Table, now: Instant) -> int:
    """Remove what is too old to be repeated."""
    return await purge_some(db, keys, keys.c.claimed_at < now - literal(KEPT, Interval))


async def forget_person(
    db: Db, keys: Table, user_id: uuid.UUID, email: str, *, users: Table, api_keys: Table
) -> None:
    """Remove what a person has sent, and what others were answered about them.

    Forms keep the sentence of the next page, which may have the address in it. Ordinary users are
    answered about themselves: theirs are not searched, for there may be any number.

    But for what is running: it may be what erases them.
    """
    staff = select(users.c.id).where(users.c.role != literal_column("'user'"))  # has an index
    others = (await db.scalars(union_all(staff, select(api_keys.c.id)))).all()
    is_like = keys.c.body.op("LIKE", is_comparison=True)
    tells = is_like(literal(f"%{user_id}%".encode(), LargeBinary))
    kept = func.lower(cast(keys.c.headers, Text))
    says = [kept.contains(text.lower(), autoescape=True) for text in (str(user_id), email)]
    theirs = or_(
        keys.c.principal_id == user_id,
        (keys.c.principal_id < OPEN_END) & or_(*says),
        (keys.c.principal_id == any_(literal(others, ARRAY(Uuid)))) & or_(tells, *says),
    )
    await db.execute(delete(keys).where(theirs, keys.c.status.is_not(None)))


async def forget_answers(db: Db, keys: Table, principal_id: uuid.UUID) -> None:
    """Remove all that somebody was answered; but for what is running."""
    theirs = (keys.c.principal_id == principal_id, keys.c.status.is_not(None))
    await db.execute(delete(keys).where(*theirs))


def _row(claim: Claim) -> dict[str, Any]:
    return {
        "principal_id": claim.principal_id,
        "key_digest": claim.key_digest,
        "fingerprint": claim.fingerprint,
        "claim_id": claim.id,
    }


def _same_key(keys: Table, claim: Claim) -> tuple[Any, ...]:
    return (keys.c.principal_id == claim.principal_id, keys.c.key_digest == claim.key_digest)
