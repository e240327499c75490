"""Making every way into an account worthless that was asked for before it changed."""

from typing import Final

from denizen.db.unit import Db
from denizen.mail.queries import forget_links
from denizen.tables import Tables
from denizen.tokens.model import Purpose
from denizen.tokens.queries import void
from denizen.users.model import UserMixin

# not the links that undo: they are for an owner whom somebody else has shut out
_LEADING_IN: Final = (Purpose.EMAIL_VERIFICATION, Purpose.PASSWORD_RESET, Purpose.EMAIL_CHANGE)


async def void_links(db: Db, tables: Tables, user: UserMixin) -> None:
    """Void the links that lead into an account, sent or still queued.

    The queue first: a worker that is just making a link holds its row, and is waited for.
    """
    await forget_links(db, tables.outbox, user.id, user.email_key)
    await void(db, tables.tokens, user.id, *_LEADING_IN)
