"""The use case of a link before it is used: whether it works, and for which address."""

from typing import Any, Generic, TypeVar

from denizen.db.unit import Db
from denizen.parts import Parts
from denizen.tokens.model import LinkToken, Purpose
from denizen.tokens.queries import require_live
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)


class TokenScenarios(Generic[U]):
    """Links of one users table; each is used up by the scenario that it is for."""

    def __init__(self, parts: Parts[U]) -> None:
        self._parts = parts

    async def look(self, purpose: Purpose, text: str) -> str | None:
        """Give the address that a link is about, and leave the link as it is.

        Raises:
            TokenInvalidError: the link does not work.
        """
        token, table, now = (
            LinkToken.parse(text),
            self._parts.tables.tokens,
            self._parts.clock.db_now,
        )

        async def read(db: Db) -> Any:
            return await require_live(db, table, purpose, token, now)

        row = await self._parts.db.run(read, read_only=True)
        email: str | None = row.email
        return email
