"""Whether a password is somebody's: throttled, one computation, the same for whoever it is not.

Scenarios share this function; it holds no connection while it hashes.
"""

import logging
from typing import TypeVar

from denizen.audit.model import Actor
from denizen.audit.queries import record
from denizen.db.unit import Db
from denizen.errors import PasswordWrongError, SignInFailedError, ThrottledError
from denizen.network import network_of
from denizen.parts import Parts
from denizen.passwords.queue import Place
from denizen.passwords.rules import normalise
from denizen.throttle.model import (
    AGAIN_ACCOUNT,
    SIGN_IN_ACCOUNT,
    SIGN_IN_KNOWN,
    SIGN_IN_NETWORK,
    SIGN_IN_PAIR,
    Limit,
)
from denizen.throttle.paying import pay
from denizen.throttle.queries import clear
from denizen.users.model import UserMixin

U = TypeVar("U", bound=UserMixin)
_log = logging.getLogger(__name__)


async def check(
    parts: Parts[U],
    user: U | None,
    key: str,
    password: str,
    actor: Actor,
    *,
    limit: Limit,
    place: Place,
) -> bool:
    """Whether the password is that user's; for nobody, and for who has none, it is not.

    Every try is paid for before it is hashed, by the address that was named and the network that it
    comes from, so that no number of tries at once gets more computed than the limits say.

    Args:
        parts: what scenarios are made of.
        user: whose password it would be.
        key: the address's key, known or not.
        password: as typed.
        actor: who tries, from where.
        limit: on failures in a row at this address, or, from a network where the owner has signed
            in before, on those from there: strangers' failures elsewhere don't count.
        place: in the queue for hashing; who comes when it is full neither reads nor pays.

    Raises:
        SignInFailedError: too many failures in a row at this address; nothing was computed.
        ThrottledError: too many tries from there.
        OverloadedError: the place was given to somebody who had less.
    """
    if parts.throttled:
        await _spend(parts, key, network_of(actor.address), limit)
    stored = None if user is None else user.hashed_password
    is_match = await parts.hasher.verify(stored, normalise(password), place=place)
    return is_match and stored is not None


async def require_current_password(parts: Parts[U], user: U, password: str, actor: Actor) -> None:
    """Ask somebody who is signed in for the password again; a refusal is recorded.

    Raises:
        PasswordWrongError: it is wrong, or there were too many failures in a row.
        ThrottledError: too many tries from there.
        OverloadedError: too many are being hashed.
    """
    with parts.hasher.queue.place(network_of(actor.address)) as place:
        try:
            key = user.email_key
            right = await check(parts, user, key, password, actor, limit=AGAIN_ACCOUNT, place=place)
        except SignInFailedError:
            right = False
    if not right:
        audit = parts.tables.audit
        await parts.db.run(lambda db: record(db, audit, "password.refused", actor, user.id))
        raise PasswordWrongError


async def lock_checked(db: Db, parts: Parts[U], user: U) -> U:
    """Lock somebody whose password was checked, and give them as they are by now.

    Raises:
        PasswordWrongError: the password was changed since.
    """
    locked = await parts.user_model.lock(db, user.id)
    if locked is None or locked.hashed_password != user.hashed_password:
        raise PasswordWrongError
    return locked


async def forget_failures(db: Db, parts: Parts[U], key: str, network: str | None = None) -> None:
    """Forget the failures at an address after a good sign-in or a reset; the network's own stay."""
    values = [(SIGN_IN_ACCOUNT, key), (AGAIN_ACCOUNT, key)]
    if network is not None:
        values += [(limit, _pair(key, network)) for limit in (SIGN_IN_PAIR, SIGN_IN_KNOWN)]
    await clear(db, parts.tables.throttles, values)


def _pair(key: str, network: str) -> str:
    return f"{key} {network}"


async def _spend(parts: Parts[U], key: str, network: str, limit: Limit) -> None:
    """Pay; where the account has nothing left, the network does, or knocking would be free."""
    pair = _pair(key, network)
    theirs = [(SIGN_IN_NETWORK, network), (SIGN_IN_PAIR, pair)]
    try:
        try:
            await pay(parts, [*theirs, (limit, pair if limit is SIGN_IN_KNOWN else key)])
        except ThrottledError as error:
            if error.limit != limit.name:
                raise
            await pay(parts, theirs)
            raise SignInFailedError from None  # which is recorded
    except ThrottledError as error:
        _log.warning("the limit %s is reached from %s", error.limit, network)
        raise
