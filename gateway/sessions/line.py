"""Who waits for a busy session in this process, in the order they came.

The first in a line tries for the lease; the others wait until they are first. It is woken when a request of this
process lets the session go. Another process tells nobody, so the first also tries again by itself, ever less often.
So Redis is asked once in a while for each busy session, however many wait for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.domain import Caller, SessionId
from gateway.errors import SessionBusy

_Key = tuple[str, SessionId]


class Line:
    """The lines of all sessions. `max_per_tenant` bounds those who wait."""

    def __init__(self, max_per_tenant: int) -> None:
        self._max_per_tenant = max_per_tenant
        self._lines: dict[_Key, deque[asyncio.Event]] = {}
        self._waiting: dict[str, int] = {}

    @property
    def waiting(self) -> int:
        """How many wait, in all lines."""
        return sum(self._waiting.values())

    def is_empty(self, caller: Caller, session_id: SessionId) -> bool:
        """Whether nobody waits for this session: who comes now may try for it at once."""
        return (caller.tenant, session_id) not in self._lines

    @contextmanager
    def joined(self, caller: Caller, session_id: SessionId) -> Iterator[asyncio.Event]:
        """Stand in the session's line while within. The event is set whenever it is worth a try.

        Raises SessionBusy where too many of the tenant wait already.
        """
        tenant, key = caller.tenant, (caller.tenant, session_id)
        if self._waiting.get(tenant, 0) >= self._max_per_tenant:
            raise SessionBusy("Too many messages to busy sessions are waiting.", retry_after_ms=1000)
        turn = asyncio.Event()
        line = self._lines.setdefault(key, deque())
        line.append(turn)
        self._waiting[tenant] = self._waiting.get(tenant, 0) + 1
        if line[0] is turn:
            turn.set()
        try:
            yield turn
        finally:
            self._leave(tenant, key, turn)

    def wake(self, caller: Caller, session_id: SessionId) -> None:
        """Tell the first in line that the session was let go."""
        line = self._lines.get((caller.tenant, session_id))
        if line:
            line[0].set()

    def is_first(self, caller: Caller, session_id: SessionId, turn: asyncio.Event) -> bool:
        """Whether it is this one's turn to try."""
        return self._lines[caller.tenant, session_id][0] is turn

    def _leave(self, tenant: str, key: _Key, turn: asyncio.Event) -> None:
        line = self._lines[key]
        was_first = line[0] is turn
        line.remove(turn)
        if not line:
            del self._lines[key]
        elif was_first:
            line[0].set()
        self._waiting[tenant] -= 1
        if not self._waiting[tenant]:
            del self._waiting[tenant]
