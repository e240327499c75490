"""Use cases of the audit log."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Row

from denizen.audit import queries
from denizen.audit.model import NOBODY
from denizen.db.model import table_of
from denizen.db.paging import Page
from denizen.parts import Parts
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)


class AuditScenarios(Generic[U]):
    """Reading what happened; writing is part of what happens."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts

    async def list_events(
        self,
        *,
        user_id: uuid.UUID | None = None,
        action: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Row[Any]]:
        """Give one page of events from `since` to before `until`, the newest first.

        Those of all users come from a replica, if there is one: the latest may be missing yet.

        Raises:
            CursorError: the cursor is not one of this list.
        """
        audit = self._parts.tables.audit
        return await self._parts.db.run(
            lambda db: queries.page_events(
                db,
                audit,
                user_id=user_id,
                action=action,
                since=since,
                until=until,
                limit=limit,
                cursor=cursor,
            ),
            read_only=True,
            may_be_stale=user_id is None,
        )

    async def names_of(self, ids: Iterable[uuid.UUID | None]) -> dict[uuid.UUID, str]:
        """Give what people and keys are called now; who is gone, or nobody, is left out."""
        wanted = {one for one in ids if one is not None and one != NOBODY}
        if not wanted:
            return {}
        users, keys = table_of(self._parts.user_model), self._parts.tables.keys
        return await self._parts.db.run(
            lambda db: queries.names_of(db, users, keys, wanted), read_only=True
        )
