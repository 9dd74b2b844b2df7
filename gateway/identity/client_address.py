"""Which address a request comes from, where proxies that are trusted say so. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

_NOWHERE = "unknown"
_SITE_BITS = 64
"""One customer has a whole /64 of IPv6 at least, and so any number of addresses."""


def networks_of(texts: Iterable[str]) -> Networks:
    """Return networks as they are written in the settings: `10.0.0.0/8`, or one address. Raises ValueError."""
    return tuple(ip_network(text, strict=False) for text in texts)


def client_address(peer: str | None, forwarded: Iterable[bytes], trusted: Networks) -> str:
    """Return who to count a request for: the peer, or whom trusted proxies say that they stand for.

    `forwarded` are the values of X-Forwarded-For in order. Each proxy adds its peer at the right, so it is read from
    there as long as a trusted one wrote it: the first address that is not trusted is the client, and what stands left
    of it anybody may have made up. Of an IPv6 address its site counts.
    """
    here = _parsed(peer or "")
    if here is None:
        return _NOWHERE
    hops = b",".join(forwarded).decode("latin-1").split(",") if trusted else []
    while hops and _is_in(here, trusted):
        before = _parsed(hops.pop())
        if before is None:
            break
        here = before
    return _site(here)


def _parsed(text: str) -> Address | None:
    """Return an address, also one with a port; one of IPv4 within IPv6 as what it is."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _is_in(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)


def _site(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), _SITE_BITS), strict=False))
