"""Changing a user who is there, with all that follows from it.

Functions of a caller's unit, shared by whoever changes one user and whoever changes many.
"""

from typing import Any, TypeVar

from denizen.audit.model import OPERATOR, Actor
from denizen.audit.queries import record_change
from denizen.db.model import update_row
from denizen.db.unit import Db
from denizen.mail.message import Kind
from denizen.mail.queries import enqueue, forget_notices
from denizen.parts import Parts
from denizen.sessions.queries import end_all_sessions, has_signed_in
from denizen.tokens.model import Purpose
from denizen.tokens.queries import void
from denizen.tokens.voiding import void_links
from denizen.users.model import UserMixin
from denizen.users.queries import facts_of
from denizen.users.values import email_key

U = TypeVar("U", bound=UserMixin)


async def change(
    db: Db,
    parts: Parts[U],
    user: U,
    given: dict[str, Any],
    actor: Actor,
    *,
    version: int | None = None,
) -> None:
    """Change a locked user; who could not sign in any more is signed out.

    A new address is confirmed by a link that is mailed to it, unless it is said to be theirs; the
    old one is told, if it was confirmed.

    Args:
        db: the session of the unit.
        parts: what scenarios are made of.
        user: whom, locked; an active admin who stops being one needs `keep_an_admin` before.
        given: the fields of `UpdateUser` to change.
        actor: who changes.
        version: what the caller read; None takes whatever there is.

    Raises:
        StaleVersionError: the user was changed in between.
        TakenError: the new e-mail, username or both belong to somebody else.
    """
    tables = parts.tables
    before, key = facts_of(user), user.email_key
    await update_row(db, user, version=version, **_columns(parts, given, user))
    if not user.can_sign_in:
        await end_all_sessions(db, tables.sessions, user.id)
    if given.get("is_active") is False:
        await void_links(db, tables, user)
    if user.email_key != key:
        await forget_notices(db, tables.outbox, user.id)
        await void_links(db, tables, user)
        await void(db, tables.tokens, user.id, Purpose.EMAIL_UNDO)
        # else nobody has said that the mailbox is theirs; who has signed in did, and would hear
        # nothing of one who first took the confirmation away
        if before["email_verified"] or await has_signed_in(db, tables.networks, user.id):
            await _tell_of_move(db, parts, user, before["email"])
        await welcome(db, parts, user, actor)
    after = facts_of(user)
    audit = tables.audit
    await record_change(db, audit, "user.updated", actor, user.id, before=before, after=after)


async def welcome(db: Db, parts: Parts[U], user: U, actor: Actor) -> Kind | None:
    """Queue the link that lets a user in, to set a password or to confirm the address; say which.

    None where nothing is missing.
    """
    kind: Kind
    if user.hashed_password is None:
        kind = "invitation"
    elif not user.email_verified:
        kind = "email_verification"
    else:
        return None
    outbox, locale = parts.tables.outbox, user.locale
    await enqueue(db, outbox, kind, user.email, actor=actor, locale=locale, user_id=user.id)
    return kind


async def _tell_of_move(db: Db, parts: Parts[U], user: U, old: str) -> None:
    """Queue a notice to the old address; it tells neither the new one nor where an admin sits."""
    outbox, locale = parts.tables.outbox, user.locale
    kind: Kind = "email_moved"
    await enqueue(db, outbox, kind, old, actor=OPERATOR, locale=locale, user_id=user.id)


def _columns(parts: Parts[U], given: dict[str, Any], user: U) -> dict[str, Any]:
    """Give the columns to write; `email_verified` comes last, for a new address resets it."""
    columns = {name: value for name, value in given.items() if name != "email_verified"}
    if "email_verified" in given:
        is_moved = "email" in given and email_key(given["email"]) != user.email_key
        noted = None if is_moved else user.email_verified_at  # what is so already stays
        verified_at = noted or parts.clock.now()
        columns["email_verified_at"] = verified_at if given["email_verified"] else None
    return columns
