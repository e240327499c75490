"""Use cases of the audit log."""

import uuid
from typing import Any, Generic, TypeVar

from sqlalchemy import Row

from denizen.audit import queries
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
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Row[Any]]:
        """Give one page of events, the newest first.

        Raises:
            CursorError: the cursor is not one of this list.
        """
        audit = self._parts.tables.audit
        return await self._parts.db.run(
            lambda db: queries.page_events(
                db, audit, user_id=user_id, action=action, limit=limit, cursor=cursor
            ),
            read_only=True,
        )
