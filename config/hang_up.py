"""SIGHUP held back until there is something to do at it: by itself it ends a process, also one that has just begun.

A mask outlives fork and exec (signal(7)), and what was held back comes as soon as it is let through.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_HANG_UP = {signal.SIGHUP}


@contextmanager
def hang_ups_held_back() -> Iterator[None]:
    """Hold SIGHUP back within, and from any process that is started within."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANG_UP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_hang_ups_through() -> None:
    """Take SIGHUP from now on: call it when it has its handler."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANG_UP)
