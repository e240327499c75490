"""Use cases of backups: what the database itself is told about them."""

from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Table, true

from denizen.audit.model import NOBODY, OPERATOR, Actor
from denizen.audit.queries import record
from denizen.db.purging import PURGED_AT_ONCE, purge_some
from denizen.parts import Parts
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)
_BACKED_UP: Final = "database.backed_up"
_RESTORED: Final = "database.restored"


class BackupScenarios(Generic[U]):
    """Backups of one installation."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts

    async def note_backup(self, *, actor: Actor = OPERATOR) -> None:
        """Record that a backup is made: it holds everybody's hashes, and this event."""
        await self._record(_BACKED_UP, actor, {})

    async def settle_restored(self, made_at: str, *, actor: Actor = OPERATOR) -> None:
        """End every session and void every link in a database that is a backup's, and record it.

        What was ended, used or replaced since the backup would be alive again.
        """
        for table in (self._parts.tables.sessions, self._parts.tables.tokens):
            while await self._forget_some(table) == PURGED_AT_ONCE:
                pass
        await self._record(_RESTORED, actor, {"made_at": made_at})

    async def _forget_some(self, table: Table) -> int:
        return await self._parts.db.run(lambda db: purge_some(db, table, true()))

    async def _record(self, action: str, actor: Actor, after: dict[str, Any]) -> None:
        audit = self._parts.tables.audit
        await self._parts.db.run(lambda db: record(db, audit, action, actor, NOBODY, after=after))
