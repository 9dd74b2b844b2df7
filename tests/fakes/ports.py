"""Free ports for tests."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports(count: int) -> int:
    """Return the first of `count` ports in a row that nothing listens on now."""
    while True:
        first = free_port()
        with ExitStack() as bound, suppress(OSError, OverflowError):
            for port in range(first, first + count):
                bound.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
