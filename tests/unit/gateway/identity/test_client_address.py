"""Which address counts, with proxies that are trusted and clients that lie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.client_address import client_address, networks_of

PROXIES = networks_of(["10.0.0.0/8", "fd00::/8", "192.0.2.7"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        # Nobody in between, or nobody who is trusted.
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1, 10.0.0.1"], "203.0.113.5"),
        # One trusted proxy: what stands at the right is its own word.
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("192.0.2.7", ["198.51.100.1"], "198.51.100.1"),
        ("192.0.2.8", ["198.51.100.1"], "192.0.2.8"),
        # A chain of trusted proxies, and headers that stand several times.
        ("10.0.0.1", ["198.51.100.1, 10.0.0.3, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1, 10.0.0.3", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        # Nobody but proxies, or a proxy that says nothing.
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        # What is no address ends the search where it is still known.
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1, \xff"], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3"], "10.0.0.1"),
        # Ports, brackets, white space, IPv4 in IPv6, and the /64 of IPv6.
        ("10.0.0.1", [" 198.51.100.1:4711 "], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8:1:2:3::4]:443"], "2001:db8:1:2::/64"),
        ("fd00::1", ["2001:db8:1:2:ffff::"], "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("2001:db8::1", ["198.51.100.1"], "2001:db8::/64"),
        # No peer at all.
        (None, ["198.51.100.1"], "unknown"),
        ("", [], "unknown"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_not_trusted(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    assert client_address(peer, [value.encode("latin-1") for value in forwarded], PROXIES) == address


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_without_trusted_proxies_nothing_that_is_sent_changes_the_address(forwarded: list[bytes]) -> None:
    assert client_address("203.0.113.5", forwarded, ()) == "203.0.113.5"


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_a_client_behind_a_trusted_proxy_cannot_choose_its_address(made_up: list[bytes]) -> None:
    assert client_address("10.0.0.1", [*made_up, b"198.51.100.1"], PROXIES) == "198.51.100.1"
