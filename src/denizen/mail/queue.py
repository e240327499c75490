"""Queueing mails that somebody may ask for again and again: bounded for each address."""

import logging
from collections.abc import Sequence
from typing import TypeVar

from denizen.audit.model import Actor
from denizen.db.unit import Db
from denizen.errors import ThrottledError
from denizen.mail.message import Kind
from denizen.mail.queries import enqueue
from denizen.network import network_of
from denizen.parts import Parts
from denizen.throttle.model import FORM_NETWORK, MAIL_ADDRESS, Limit
from denizen.throttle.paying import pay
from denizen.users.model import UserMixin
from denizen.users.values import Locale, email_key

U = TypeVar("U", bound=UserMixin)
_log = logging.getLogger(__name__)


async def queue_asked(
    parts: Parts[U], kind: Kind, email: str, *, actor: Actor, locale: Locale, db: Db | None
) -> None:
    """Queue the mail that a public form asks for, the same way whoever has that address.

    Beyond the limit of an address nothing is queued, and nobody is told.

    Raises:
        ThrottledError: too many forms from that network.
    """
    network = network_of(actor.address)
    try:
        may = await _may(parts, [(FORM_NETWORK, network)], _mailbox(kind, email))
    except ThrottledError as error:
        _log.warning("the limit %s is reached from %s", error.limit, network)
        raise
    if may:
        outbox = parts.tables.outbox
        await parts.db.run(
            lambda db: enqueue(db, outbox, kind, email, actor=actor, locale=locale), join=db
        )


async def may_mail(parts: Parts[U], kind: Kind, email: str) -> bool:
    """Whether a mailbox may get one more mail of a kind; asking counts."""
    return await _may(parts, [], _mailbox(kind, email))


def _mailbox(kind: Kind, email: str) -> tuple[Limit, str]:
    return MAIL_ADDRESS, f"{kind} {email_key(email)}"


async def _may(
    parts: Parts[U], theirs: Sequence[tuple[Limit, str]], mailbox: tuple[Limit, str]
) -> bool:
    """Pay; where the mailbox has nothing left, who asks does, or asking would be free."""
    if not parts.throttled:
        return True
    try:
        await pay(parts, [*theirs, mailbox])
    except ThrottledError as error:
        if error.limit != MAIL_ADDRESS.name:
            raise
        if theirs:
            await pay(parts, theirs)
        return False
    return True
