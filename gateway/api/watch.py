"""End a request's work as soon as its client has gone.

The server calls back when a connection is lost (`http_cycle.py`), which costs nothing until it happens. The ASGI way,
awaiting `receive()` beside the work, takes a second task for each request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Protocol

from starlette.types import Scope

CLIENT = "gateway.client"
"""The ASGI extension under which the server says who is at the other end."""


class Client(Protocol):
    """The other end of a request's connection, as the server knows it."""

    def when_gone(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called, at most once, if the client leaves before the response is complete.

        It is called at once where the client has left already. None: it is not wanted any more.
        """

    def whole_body(self) -> bytes | None:
        """Return the request's body if all of it is here and nobody has received of it; it is gone from here then."""

    @property
    def blocked(self) -> bool:
        """Whether a send would have to wait until the client takes what was sent before."""

    def push(self, part: bytes) -> bool:
        """Send a further part of a response that has begun; False where that would have to wait, or cannot be."""


def client_of(scope: Scope) -> Client | None:
    """Return the client of a request; None under a server that does not say when one leaves."""
    client: Client | None = scope.get("extensions", {}).get(CLIENT)
    return client


class ClientWatch:
    """Runs one request's work. `gone_at` is when it was ended for its client's going, on `time.perf_counter`.

    None: it was not. Work goes on for `grace_seconds` without a client.
    """

    __slots__ = ("_client", "_grace", "_grace_seconds", "_task", "gone_at")

    def __init__(self, client: Client | None, grace_seconds: float = 0.0) -> None:
        self._client = client
        self._grace_seconds = grace_seconds
        self._grace: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self.gone_at: float | None = None

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Return when `work` has ended: by itself, or cancelled because the client left before it was answered.

        What `work` raises is raised here. If this is cancelled from outside, so is the work.
        """
        client = self._client
        if client is None:
            await work
            return
        client.when_gone(self._gone)
        if self.gone_at is not None:
            work.close()
            return
        self._task = asyncio.current_task()
        try:
            await work
        except asyncio.CancelledError:
            if not self._was_ours():
                raise
        finally:
            client.when_gone(None)
            if self._grace is not None:
                self._grace.cancel()

    def _gone(self) -> None:
        if self._grace_seconds:
            self._grace = asyncio.get_running_loop().call_later(self._grace_seconds, self._end)
        else:
            self._end()

    def _end(self) -> None:
        self.gone_at = time.perf_counter()
        if self._task is not None:
            self._task.cancel()

    def _was_ours(self) -> bool:
        """Take our cancellation back; return whether there was one and nobody else wants the task ended too."""
        return self.gone_at is not None and self._task is not None and self._task.uncancel() == 0
