"""The client's address: what the connection says, and whom else to believe."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.http import client
from denizen.http.client import client_address
from denizen.network import Network, parse_address, parse_network

THOUSAND = settings(max_examples=1000, database=None, derandomize=True, deadline=None)
PEER = "203.0.113.9"
PROXIES = [parse_network(text) for text in ("10.0.0.0/8", "fd00::/8")]
HEADERS = (
    "x-forwarded-for", "x-real-ip", "forwarded", "x-client-ip", "true-client-ip",
    "cf-connecting-ip", "x-cluster-client-ip", "x-original-forwarded-for",
)  # fmt: skip


def _is_stranger(text: str) -> bool:
    address = parse_address(text)
    return address is not None and not any(address in proxy for proxy in PROXIES)


addresses = st.ip_addresses().map(str)
entries = st.one_of(
    addresses,
    addresses.map(lambda text: f"[{text}]:443"),
    addresses.map(lambda text: f"for={text};proto=https"),
    st.sampled_from(["", " ", "unknown", "_hidden", "10.0.0.1", "fd00::1", "127.0.0.1", PEER]),
    st.text(st.characters(max_codepoint=255), max_size=9),
)
spoofed_headers = st.lists(
    st.tuples(st.sampled_from(HEADERS), st.lists(entries, max_size=3).map(", ".join)), max_size=3
)
proxies = st.one_of(
    st.integers(0, 2**24 - 1).map(lambda bits: str(IPv4Address(10 << 24 | bits))),
    st.integers(0, 2**24 - 1).map(lambda bits: f"::ffff:{IPv4Address(10 << 24 | bits)}"),
    st.integers(0, 2**120 - 1).map(lambda bits: str(IPv6Address(0xFD << 120 | bits))),
)


def _found(
    peer: str | None, *headers: tuple[str, str], trusted: Sequence[Network] = ()
) -> str | None:
    scope: dict[str, Any] = {
        "type": "http",
        "client": None if peer is None else (peer, 4711),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    return client_address(scope, trusted)


def _forwarded(*values: str, peer: str = "10.0.0.1") -> str | None:
    return _found(peer, *(("x-forwarded-for", value) for value in values), trusted=PROXIES)


@THOUSAND
@given(spoofed_headers)
def test_t_thr_4_headers_change_nothing_without_a_trusted_proxy(
    headers: list[tuple[str, str]],
) -> None:
    """Neither when no proxy is trusted, nor when the peer is none of the trusted ones."""
    assert _found(PEER, *headers) == PEER
    assert _found("10.0.0.1", *headers) == "10.0.0.1"
    assert _found(PEER, *headers, trusted=PROXIES) == PEER


@THOUSAND
@given(
    spoofed_headers,
    addresses.filter(_is_stranger),
    st.lists(proxies, max_size=2),
    proxies,
    st.sampled_from([", ", ",", " , ", ",,", " ,\t, "]),
)
def test_t_thr_4_right_most_untrusted_entry_alone_counts(
    spoofed: list[tuple[str, str]],
    client: str,
    between: list[str],
    peer: str,
    comma: str,
) -> None:
    """Whatever a client sends: the address that the outermost trusted proxy saw is the answer."""
    told = ("x-forwarded-for", comma.join([client, *between]))
    expected = _found(client)

    assert _found(peer, *spoofed, told, trusted=PROXIES) == expected
    # a proxy that appends to the last header instead of adding one of its own
    begun = ("x-forwarded-for", f"1.2.3.4, 10.0.0.1, {told[1]}")
    assert _found(peer, *spoofed, begun, trusted=PROXIES) == expected


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:5678", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[fe80::1%eth0]:443", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
        ("\t192.0.2.1  ", "192.0.2.1"),
        ("192.0.2.1,", "192.0.2.1"),
        ("192.0.2.1, ,\t,", "192.0.2.1"),
    ],
)
def test_entry_is_read_in_the_spellings_of_proxies(entry: str, address: str) -> None:
    """With and without port and brackets, blanks around it, empty entries behind it."""
    assert _forwarded(entry) == address
    assert _forwarded("198.51.100.1", entry) == address


@pytest.mark.parametrize(
    "entry",
    [
        "unknown", "_hidden", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:123456", ":80", "[", "]",
        "[]", "[2001:db8::1", "2001:db8::1]", "[2001:db8::1]x", "[2001:db8::1]:", "192.0.2.1;",
        '"192.0.2.1"', "for=192.0.2.1", "192.0.2.1 198.51.100.1", "192.0.2.1/32", "\x00",
        "\xff\xfe", "1" * 60_000,
    ],
)  # fmt: skip
def test_entry_that_can_not_be_read_makes_the_proxy_the_client(entry: str) -> None:
    """What stands left of it was written by nobody known, and is not looked at."""
    assert _forwarded(f"198.51.100.1, {entry}") == "10.0.0.1"
    assert _forwarded(f"198.51.100.1, {entry}, 10.0.0.2") == "10.0.0.2"


def test_all_trusted_gives_the_left_most() -> None:
    """Somebody inside the trusted network is themselves, not the proxy."""
    assert _forwarded("10.1.1.1, 10.0.0.2") == "10.1.1.1"
    assert _forwarded() == "10.0.0.1"
    assert _forwarded("") == "10.0.0.1"


@pytest.mark.parametrize("peer", [None, "", "testclient", "/run/app.sock", "\ud800"])
def test_peer_without_an_address_has_none(peer: str | None) -> None:
    """A Unix socket or a test's client: nothing is made up, and nothing is believed."""
    assert _found(peer, ("x-forwarded-for", "192.0.2.1"), trusted=PROXIES) is None


def test_scope_without_a_client_is_answered() -> None:
    """ASGI leaves `client` optional."""
    assert client_address({"type": "http", "headers": []}, PROXIES) is None


def test_peer_is_told_in_its_one_spelling() -> None:
    """A listener on both families sees IPv4 inside IPv6."""
    assert _found("::ffff:203.0.113.9") == PEER
    assert _forwarded("192.0.2.1", peer="::ffff:10.0.0.1") == "192.0.2.1"


def test_peer_that_may_be_a_proxy_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else all who come through it count as one client, and nobody knows why; not told for ever."""
    monkeypatch.setattr(client, "_told", set())
    _found(PEER)
    _forwarded("192.0.2.1")
    assert caplog.messages == []

    for number in range(100):
        _found(f"203.0.113.{number // 2}", ("x-forwarded-for", "192.0.2.1"), trusted=PROXIES)

    assert len(caplog.messages) == 10
    assert "of 203.0.113.0: if that is your proxy" in caplog.messages[0]
    assert "192.0.2.1" not in caplog.text  # what strangers write
