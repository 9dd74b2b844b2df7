"""Host and port → a socket bound there, and the URL under which this machine reaches it."""

from __future__ import annotations

import socket

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on is the settings' choice


def bind(host: str, port: int) -> socket.socket:
    """Return a bound TCP socket, on IPv4 before IPv6 as vLLM does. Raises OSError where it cannot be had."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] is not socket.AF_INET)
    bound = socket.socket(family, kind, protocol)
    try:
        # As a server would: a port is not taken because old connections on it are still closing.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def base_url(host: str, port: int) -> str:
    """Return the URL of a server on this machine that listens on `host`."""
    host = _WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
