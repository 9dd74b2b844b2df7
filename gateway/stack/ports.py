"""TCP ports that are free, asked for before a child would fail on them."""

from __future__ import annotations

import socket

from gateway.stack.errors import StackError


def free_port(host: str, wanted: int, setting: str) -> int:
    """Return `wanted`, or for 0 a port that was free just now. Raises StackError where `wanted` is taken."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As a server would: a port is not taken because old connections on it are still closing.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        reason = error.strerror or "no such address"
        raise StackError(f"{setting}: {host}:{wanted} cannot be listened on: {reason}.") from error
