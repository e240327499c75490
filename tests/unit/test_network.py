"""Addresses: one spelling each, and what counts as one client."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.network import (
    UNKNOWN,
    is_wide,
    network_of,
    parse_address,
    parse_network,
    site_of,
)

FAST = settings(max_examples=300, database=None, derandomize=True, deadline=None)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1%eth0", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("0:0::0", "::"),
    ],
)
def test_t_thr_4_spellings_of_one_address_are_one(text: str, canonical: str) -> None:
    """Letter case, zeros, zones and IPv4 inside IPv6 make no other client."""
    assert str(parse_address(text)) == canonical
    assert network_of(text) == network_of(canonical)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "unknown", "testclient", "localhost", "192.0.2", "192.0.2.256", "192.0.2.01",
        "192.0.2.1 ", "192.0.2.1/32", "192.0.2.1:80", "1921", "0x7f.1", "١٩٢.٠.٢.١", "g::1",
        "2001:db8::1::", "[2001:db8::1]", "2001:db8::1%", "fe80::1%a%b", "192.0.2.1%eth0",
        "\ud800", "a" * 9999,
    ],
)  # fmt: skip
def test_what_is_no_address_is_the_unknown_client(text: str) -> None:
    """It is refused without an exception, and all such clients count as one."""
    assert parse_address(text) is None
    assert network_of(text) == network_of(None) == UNKNOWN


@FAST
@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_t_thr_4_rotation_inside_a_64_stays_one_client(one: IPv6Address, bits: int) -> None:
    """Whatever a subscriber puts behind its /64, the network is the same; before it, another."""
    if one.ipv4_mapped is not None:
        return
    other = IPv6Address(int(one) >> 64 << 64 | bits)
    neighbour = IPv6Address(int(one) ^ 1 << 64)

    assert other.ipv4_mapped is not None or network_of(str(one)) == network_of(str(other))
    assert network_of(one.exploded.upper()) == network_of(str(one))
    assert network_of(str(neighbour)) != network_of(str(one))
    assert one in ip_network(network_of(str(one)))


@FAST
@given(st.ip_addresses(v=4))
def test_t_thr_4_ipv4_is_one_client_in_either_family(one: IPv4Address) -> None:
    """An address is its own network, written as IPv4 or inside IPv6."""
    mapped = IPv6Address(0xFFFF << 32 | int(one))

    assert (
        network_of(str(one)) == network_of(str(mapped)) == network_of(mapped.exploded) == str(one)
    )


@FAST
@given(st.text(max_size=60))
def test_any_text_is_answered(text: str) -> None:
    """Nothing raises, and what is read reads back to itself."""
    address = parse_address(text)

    assert address is None or parse_address(str(address)) == address
    assert network_of(network_of(text).partition("/")[0]) == network_of(text)


def test_networks_of_operators_are_read() -> None:
    """An address is a network of one; a network has no bits behind its prefix."""
    assert str(parse_network("::ffff:10.0.0.1")) == "10.0.0.1/32"
    assert str(parse_network("10.0.0.0/8")) == "10.0.0.0/8"
    assert str(parse_network("fd00::1")) == "fd00::1/128"
    for wrong in ("10.0.0.1/8", "10.0.0.0/33", "proxy.internal", "*", "", "/8"):
        with pytest.raises(ValueError, match=r"must be addresses or networks, such as 10\.0\.0\.2"):
            parse_network(wrong)


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("2001:db8:1:ff02::3", "2001:db8:1::/48"),
        ("2001:db8:2:2::3", "2001:db8:2::/48"),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("nonsense", "unknown"),
    ],
)
def test_site_is_what_one_customer_may_have(address: str, site: str) -> None:
    """A /48 has 65,536 networks, each a client; all of them together are one site."""
    assert site_of(network_of(address)) == site


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [("10.0.0.0/8", "10.0.0.2"), ("10.0.0.0/23", "10.0.0.0/24"), ("0.0.0.0/0", "127.0.0.0/8"),
     ("fd00::/8", "fd00::1"), ("fd00::/63", "fd00::/64"), ("::/0", "::1")],
)  # fmt: skip
def test_network_of_proxies_is_no_larger_than_it_has_to_be(wide: str, narrow: str) -> None:
    """A /24, or a /64 of IPv6; on this machine there are no strangers."""
    assert (is_wide(parse_network(wide)), is_wide(parse_network(narrow))) == (True, False)
