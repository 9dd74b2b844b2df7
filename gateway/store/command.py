"""Commands as Redis reads them, and the one error for a Redis that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import hiredis

from gateway.errors import StoreDown

Argument = str | bytes | int | float
Command = tuple[Argument, ...]

# The stub takes a tuple of exactly one.
_PACK: Callable[[Command], bytes] = cast(Any, hiredis.pack_command)


class Unusable(ConnectionError):
    """A reply that says that Redis answers, but no call: it is loading, or does not let us in."""


def pack(command: Command) -> bytes:
    """Return a command as Redis reads it. Raises UnicodeEncodeError for what cannot be sent."""
    try:
        return _PACK(command)
    except TypeError:  # It knows the types themselves only: no subclass, and nothing else that has a text.
        return _PACK(tuple(each if isinstance(each, bytes) else str(each) for each in command))


def items(command: Command) -> bytes:
    """Return the parts of a command without their count before them."""
    packed = pack(command)
    return packed[packed.index(b"\n") + 1 :]


def away(*, sent: bool = True) -> StoreDown:
    """Return the error that a caller sees while Redis is away. `sent`: it may have got the call."""
    down = StoreDown("The session and limit store is not reachable right now.", retry_after_ms=1000)
    down.sent = sent
    return down
