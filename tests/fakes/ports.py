"""Free ports for tests, from below those that the kernel gives to connections.

One of the kernel's own could be a connection's of another test, before the process that it was meant for listens on it.
Workers that run tests side by side each have a stretch of their own, and no port is given twice in a row.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress
from itertools import count

_FIRST = 12_000
_STRETCH = 2_000
_STRETCHES = 10
_TURN = count(os.getpid())
"""From a place of its own in each process, so that the next run does not begin with the ports of the last."""


def free_port() -> int:
    """Return a port that nothing listens on now."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """Return the first of `count` ports in a row that nothing listens on now."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    stretch = _FIRST + worker % _STRETCHES * _STRETCH
    while True:
        places = [next(_TURN) % _STRETCH for _ in range(count)]
        first = stretch + places[0]
        with ExitStack() as bound, suppress(OSError):
            for port in range(first, first + count):
                bound.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
