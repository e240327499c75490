"""Addresses of clients: one spelling for each, and the network that counts as one client.

How the address is found in a request stands in `denizen.http.client`.
"""

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN: Final = "unknown"
_PROXIES: Final = {4: 24, 6: 64}  # bits: a network of proxies alone is no larger
_SUBSCRIBER: Final = 64  # bits: whoever has one IPv6 address has at least the rest of its /64
_SITE: Final = 48  # bits: as much as one customer is given, who has 65,536 networks in it


def parse_address(text: str) -> Address | None:
    """Give the address in any of its spellings; None for anything else.

    IPv4 inside IPv6 (`::ffff:192.0.2.1`) is the IPv4 address. A zone (`fe80::1%eth0`) is left out:
    it names an interface of the machine that wrote it down.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def parse_network(text: str) -> Network:
    """Give the network that an operator means by an address or a network.

    Raises:
        ValueError: it is neither, or has bits set behind its prefix.
    """
    try:
        return ip_network(parse_address(text) or text)
    except ValueError:
        raise ValueError("must be addresses or networks, such as 10.0.0.2") from None


def is_wide(network: Network) -> bool:
    """Whether clients may well be in a network of proxies: their word would be believed, too."""
    return network.prefixlen < _PROXIES[network.version] and not network.is_loopback


def network_of(address: str | None) -> str:
    """Give what counts as one client: an IPv4 address, the /64 of an IPv6 one, or `unknown`.

    All clients without an address count as one: a limit that nobody can be named for still holds.
    """
    parsed = parse_address(address or "")
    if parsed is None:
        return UNKNOWN
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(IPv6Network((int(parsed), _SUBSCRIBER), strict=False))


def site_of(network: str) -> str:
    """Give what one customer of a provider may have at most: the /48 around an IPv6 network.

    Of IPv4 and of the unknown, the network itself.
    """
    if "/" not in network:
        return network
    return str(IPv6Network(network).supernet(new_prefix=_SITE))
