"""Do a request's work in a task of its own, and end that task as soon as the client has gone.

A server tells of a client's going only to whoever awaits `receive()`. So the request's own task does that, and the
work runs beside it. That also spares the work the stack of middleware: each time a coroutine is resumed, every frame
that awaits it is passed through, which at twenty layers cost more than handling a chunk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

from starlette.types import Receive


class ClientWatch:
    """Runs one request's work. `gone_at` is when its client left, on `time.perf_counter`; None if it stayed."""

    __slots__ = ("_answered", "_receive", "_waiting", "gone_at")

    def __init__(self, receive: Receive, answered: Callable[[], bool]) -> None:
        self._receive = receive
        self._answered = answered
        self._waiting = False
        self.gone_at: float | None = None

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Return when `work` has ended: by itself, or cancelled because the client left before it was `answered()`.

        What `work` raises is raised here. If this is cancelled, so is the work, and it has ended when this returns.
        """
        request = asyncio.current_task()
        if request is None:
            raise RuntimeError("a client can only be watched from within a task")
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._waiting and request.cancel())
        try:
            await self._until_gone()
        except asyncio.CancelledError:
            if not task.done() or request.uncancel():
                await _end(task)
                raise
        if not task.done() and not self._answered():
            self.gone_at = time.perf_counter()
            await _end(task)
            return
        await task

    async def _until_gone(self) -> None:
        """Wait for the end of the connection, or of the response: servers tell both the same way."""
        self._waiting = True
        try:
            while (await self._receive())["type"] != "http.disconnect":
                pass
        finally:
            self._waiting = False


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel `task` and wait until what it held is released."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        # It ended in the same turn. Its exception, if any, is told to nobody: there is nobody left to tell.
        task.exception()
