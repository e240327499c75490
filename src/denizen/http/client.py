"""Where a request comes from: the peer, or what proxies that the operator trusts say of theirs.

Each proxy appends to `X-Forwarded-For` the address that it was called from, so the list is read
from its right end, and only as far as whoever wrote an entry is trusted. What a client put there
itself stands further left, and is never reached.

`Forwarded` (RFC 7239) and `X-Real-IP` are not read. The usual proxies write `X-Forwarded-For` and
pass the others on as the client sent them: whoever reads two headers lets the client choose one.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from typing import Final

from starlette.types import Scope

from denizen.network import Address, Network, parse_address

# `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`; a bare IPv6 address has no port
_WITH_PORT: Final = re.compile(r"\[([^]]+)](?::[0-9]{1,5})?|([^:]+):[0-9]{1,5}")
_TOLD_OF: Final = 10  # peers; who calls from many addresses fills no log
_told: Final[set[str]] = set()
_log = logging.getLogger(__name__)


def client_address(scope: Scope, trusted: Sequence[Network]) -> str | None:
    """Give the client's address in its one spelling; None when the server knows none.

    Where an entry can't be read, the proxy that wrote it counts as the client. Where everybody is
    trusted, the left-most does.
    """
    peer = scope.get("client")
    address = parse_address(str(peer[0])) if peer else None
    entries = _entries(scope)
    if address is not None and not _is_in(address, trusted):
        _tell_once(str(address), entries)
    while address is not None and _is_in(address, trusted):
        said = _address_in(next(entries, ""))
        if said is None:
            break
        address = said
    return None if address is None else str(address)


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _tell_once(peer: str, entries: Iterator[str]) -> None:
    """Tell that somebody is taken for the client who may be a proxy in front of all of them."""
    if len(_told) < _TOLD_OF and peer not in _told and next(entries, None) is not None:
        _told.add(peer)
        _log.warning(
            "X-Forwarded-For is not believed of %s: if that is your proxy, all who come through "
            "it count as one client; name it in DENIZEN_TRUSTED_PROXIES",
            peer,
        )


def _entries(scope: Scope) -> Iterator[str]:
    """Give the entries of all `X-Forwarded-For` headers, the last one first, without empty ones."""
    for name, value in reversed(scope["headers"]):
        if name == b"x-forwarded-for":
            entries = reversed(value.decode("latin-1").split(","))
            yield from (entry.strip() for entry in entries if entry.strip())


def _address_in(entry: str) -> Address | None:
    found = _WITH_PORT.fullmatch(entry)
    return parse_address(entry if found is None else found[1] or found[2])
