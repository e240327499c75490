"""Erasing a person: first with a grace period, in which a link undoes it, then for good.

Functions of a caller's unit, shared by whoever may start it: the person, an admin, the clock.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeVar

from sqlalchemy import Interval, literal

from denizen.audit.model import Actor
from denizen.audit.queries import blank, record
from denizen.db.model import table_of, update_row
from denizen.db.unit import Db
from denizen.idempotency.queries import forget_person as forget_requests
from denizen.mail.queries import enqueue
from denizen.mail.queries import forget_person as forget_mails
from denizen.parts import Parts
from denizen.passwords.check import forget_failures
from denizen.sessions.queries import end_all_sessions
from denizen.tables import Tables
from denizen.tokens.model import Purpose, registration_id
from denizen.tokens.queries import void
from denizen.tokens.voiding import void_links
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)

GRACE: Final = timedelta(days=30)


async def put_to_erase(db: Db, parts: Parts[U], user: U, actor: Actor) -> None:
    """Sign a locked user out everywhere, and have them erased after the grace period."""
    tables = parts.tables
    user.erase_after = parts.clock.db_now + literal(GRACE, Interval)
    await update_row(db, user)
    await end_all_sessions(db, tables.sessions, user.id)
    await void_links(db, tables, user)
    await void(db, tables.tokens, user.id, Purpose.DELETION_UNDO)  # it undoes an earlier one
    await enqueue(
        db,
        tables.outbox,
        "deletion",
        user.email,
        actor=actor,
        locale=user.locale,
        user_id=user.id,
    )
    await record(db, tables.audit, "user.deletion_requested", actor, user.id)


async def keep(db: Db, tables: Tables, user: UserMixin, actor: Actor) -> None:
    """Let a locked user stay, who was to be erased."""
    user.erase_after = None
    await update_row(db, user)
    await record(db, tables.audit, "user.deletion_undone", actor, user.id)


async def erase(db: Db, parts: Parts[U], user: U, actor: Actor) -> None:
    """Erase a user with everything of theirs; in the audit the person is blanked."""
    tables, user_id, email, key = parts.tables, user.id, user.email, user.email_key
    await forget_mails(db, tables.outbox, user_id, key)
    for owner in (user_id, registration_id(email)):
        await void(db, tables.tokens, owner)
    await forget_failures(db, parts, key)
    users = table_of(parts.user_model)
    await forget_requests(db, tables.idempotency, user_id, email, users=users, api_keys=tables.keys)
    await parts.user_model.delete(db, user_id)  # sessions and networks go with the row
    await blank(db, tables.audit, user_id)
    by = replace(actor, reason="")  # it may tell of the person, and would outlive them
    by = replace(by, address=None, user_agent=None) if actor.id == user_id else by
    await record(db, tables.audit, "user.erased", by, user_id)
