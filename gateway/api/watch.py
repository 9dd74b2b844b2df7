"""Notice at once that a client has gone, in whatever the request is waiting for."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from starlette.types import Receive

from gateway.api.body import ClientGone


class ClientWatch:
    """While entered, the client's going cancels the current task, and leaves as ClientGone.

    A server tells it only to whoever awaits `receive()`, so a task of its own does. To be entered after the whole
    body was read. A cancellation from elsewhere (a shutdown) passes through unchanged.
    """

    __slots__ = ("_receive", "_request", "_watching", "gone_at")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.gone_at: float | None = None

    async def __aenter__(self) -> ClientWatch:
        current = asyncio.current_task()
        if current is None:
            raise RuntimeError("a client can only be watched from within a task")
        self._request = current
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watching.cancel()
        if self.gone_at is not None and self._request.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientGone from None

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone_at = time.perf_counter()
        self._request.cancel()
