"""End a request's work as soon as its client has gone.

The server calls back when a connection is lost (`http_cycle.py`), which costs nothing until it happens. The ASGI way,
awaiting `receive()` beside the work, takes a second task for each request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from starlette.types import Scope

CLIENT = "gateway.client"
"""The ASGI extension under which the server says who is at the other end."""


class Client(Protocol):
    """The other end of a request's connection, as the server knows it."""

    loop: asyncio.AbstractEventLoop
    """On which it is served."""

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
    """What is done within it is cancelled when its client leaves, and it ends then as if it were done.

    `gone_at` is when that was, on `time.perf_counter`; None: it was not. Work goes on for `grace_seconds` without a
    client.
    """

    __slots__ = ("_client", "_grace", "_grace_seconds", "_task", "gone_at")

    def __init__(self, client: Client | None, grace_seconds: float = 0.0) -> None:
        self._client = client
        self._grace_seconds = grace_seconds
        self._grace: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self.gone_at: float | None = None

    def __enter__(self) -> Self:
        """Watch from now on. With `gone_at` set, the client has left already, and there is nobody to work for."""
        client = self._client
        if client is not None:
            client.when_gone(self._gone)
            # Only now: who is told at once has nothing to end.
            self._task = asyncio.current_task(client.loop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        """Watch no longer; a cancellation because the client left ends here, one from outside does not."""
        if self._client is not None:
            self._client.when_gone(None)
        if self._grace is not None:
            self._grace.cancel()
        return isinstance(error, asyncio.CancelledError) and self._was_ours()

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
