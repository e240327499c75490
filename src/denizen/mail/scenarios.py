"""Use cases of the outbox: to look at it, to try again, to send oneself a mail."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Row

from denizen.audit.model import NOBODY, Actor
from denizen.audit.queries import record
from denizen.db.unit import Db
from denizen.errors import NotFoundError
from denizen.mail import queries
from denizen.mail.queries import enqueue
from denizen.parts import Parts
from denizen.throttle.model import MAIL_ADDRESS
from denizen.throttle.paying import pay
from denizen.users.model import UserMixin
from denizen.users.values import email_key

U = TypeVar("U", bound=UserMixin)

LISTED: Final = 50


@dataclass(frozen=True, slots=True)
class Outbox:
    """What has not been sent.

    Attributes:
        waiting: how many mails are to be sent yet.
        waiting_since: when the first of those was asked for.
        unsent: the latest that were tried in vain: `next_try_at` is None where nothing more is
            tried. No address stands there, for it may be a stranger's.
    """

    waiting: int
    waiting_since: datetime | None
    unsent: Sequence[Row[Any]]


class OutboxScenarios(Generic[U]):
    """The outbox of one service."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts
        self._outbox = parts.tables.outbox

    async def look(self) -> Outbox:
        """Give what has not been sent."""

        async def unit(db: Db) -> Outbox:
            waiting, since = await queries.count_waiting(db, self._outbox)
            unsent = await queries.list_unsent(db, self._outbox, limit=LISTED)
            return Outbox(waiting, since, unsent)

        return await self._parts.db.run(unit, read_only=True)

    async def retry(self, ids: Collection[uuid.UUID], *, actor: Actor, db: Db | None = None) -> int:
        """Have mails that were given up tried once more, at once; give how many.

        Raises:
            NotFoundError: none of those is given up.
        """
        now = self._parts.clock.db_now

        async def unit(db: Db) -> int:
            mails = await queries.retry(db, self._outbox, ids, now)
            if not mails:
                raise NotFoundError
            about = mails[0].user_id if len(mails) == 1 else None
            after = {"mails": len(mails), "kind": sorted({mail.kind for mail in mails})}
            audit = self._parts.tables.audit
            await record(db, audit, "mail.retried", actor, about or NOBODY, after=after)
            return len(mails)

        return await self._parts.db.run(unit, join=db)

    async def send_test(self, user: U, *, actor: Actor, db: Db | None = None) -> None:
        """Queue a mail to a user, who asks for it to see whether mails arrive.

        Raises:
            ThrottledError: too many for one mailbox.
        """
        if self._parts.throttled:
            await pay(self._parts, [(MAIL_ADDRESS, f"test {email_key(user.email)}")])
        await self._parts.db.run(
            lambda db: enqueue(
                db,
                self._outbox,
                "test",
                user.email,
                actor=actor,
                locale=user.locale,
                user_id=user.id,
            ),
            join=db,
        )
