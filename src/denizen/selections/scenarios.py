"""Use cases of selections: look at what an act would do, and do it.

It is done in batches, each a unit of work of its own: when the database goes away in between, the
batches before stand, and the same selection can be sent again.
"""

import functools
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Generic, TypeVar

from sqlalchemy import select

from denizen.audit.model import OPERATOR, Actor
from denizen.db.errors import DataError
from denizen.db.unit import Db
from denizen.errors import InvalidError, Issue
from denizen.parts import Parts
from denizen.selections.rules import (
    AT_ONCE,
    BATCH,
    Act,
    Preview,
    Report,
    Selection,
    Skip,
    reason_to_skip,
)
from denizen.sessions.queries import count_sessions, end_and_record
from denizen.users.changing import change
from denizen.users.erasure import put_to_erase
from denizen.users.model import UserMixin
from denizen.users.queries import UserFilter, list_some, list_these, lock_admins

U = TypeVar("U", bound=UserMixin)


class SelectionScenarios(Generic[U]):
    """Acts on many users of one table; the actor is never among them."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts
        self._db = parts.db

    async def look(self, selection: Selection, act: Act, *, actor: Actor = OPERATOR) -> Preview[U]:
        """Give what an act would do, and leave everything as it is."""
        sessions, clock = self._parts.tables.sessions, self._parts.clock

        async def read(db: Db) -> Preview[U]:
            preview: Preview[U] = Preview(await db.scalar(select(clock.db_now)))
            users = await self._users(db, selection)
            if len(users) > AT_ONCE:
                return Preview(preview.moment, is_too_many=True)
            chosen = []
            for user in users:
                if (reason := reason_to_skip(user, act, actor)) is None:
                    chosen.append(user)
                else:
                    preview.skipped.setdefault(reason, []).append(user)
            ids = [user.id for user in chosen]
            ends = await count_sessions(db, sessions, ids, clock.db_now) if ids else 0
            return Preview(preview.moment, chosen, preview.skipped, ends)

        return await self._db.run(read, read_only=True)

    async def apply(
        self, selection: Selection, act: Act, *, expected: str, actor: Actor = OPERATOR
    ) -> Report:
        """Do it to everybody of the selection who is not skipped, and tell.

        Args:
            selection: whom; a filter is good for those who were there when it was looked at.
            act: what.
            expected: `Preview.mark` of those whom the actor was shown; nobody else is met.
            actor: who acts.

        Raises:
            InvalidError: they are others by now, or too many; nothing was done.
            DataError: the database is out of reach; nothing was done.
        """
        preview = await self.look(selection, act, actor=actor)
        if preview.is_too_many or preview.mark != expected:
            raise InvalidError(Issue("selection", "selection_changed", "Others are selected now."))
        report = Report()
        for reason, users in preview.skipped.items():
            report.skipped[reason] += len(users)
        ids = [user.id for user in preview.chosen]
        for start in range(0, len(ids), BATCH):
            batch = functools.partial(self._batch, act, actor, ids[start : start + BATCH])
            try:
                done, skipped = await self._db.run(batch)
            except DataError:
                if not report.done:
                    raise
                report.is_whole = False
                break
            report.done += done
            report.skipped += skipped
        return report

    async def _users(self, db: Db, selection: Selection) -> Sequence[U]:
        model, who = self._parts.user_model, selection.who
        if isinstance(who, UserFilter):
            return await list_some(db, model, who, limit=AT_ONCE + 1)
        return await list_these(db, model, who[: AT_ONCE + 1])

    async def _batch(
        self, act: Act, actor: Actor, ids: Sequence[uuid.UUID], db: Db
    ) -> tuple[int, Counter[Skip]]:
        """Do it to some in one unit, as they are once they are locked."""
        model, skipped, done = self._parts.user_model, Counter[Skip](), 0
        # the admins first, as whoever dismisses one has it: nobody waits in a circle
        admins = set(await lock_admins(db, model) if act in {"disable", "delete"} else ())
        for user in await list_these(db, model, ids, is_locked=True):
            reason = reason_to_skip(user, act, actor)
            if reason is None and admins == {user.id}:
                reason = "last_admin"
            if reason is not None:
                skipped[reason] += 1
                continue
            await self._do(db, act, user, actor)
            admins.discard(user.id)
            done += 1
        return done, skipped

    async def _do(self, db: Db, act: Act, user: U, actor: Actor) -> None:
        match act:
            case "disable" | "enable":
                given = {"is_active": act == "enable"}
                await change(db, self._parts, user, given, actor)
            case "end_sessions":
                await end_and_record(db, self._parts.tables, user.id, actor)
            case "delete":
                await put_to_erase(db, self._parts, user, actor)
