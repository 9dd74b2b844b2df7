"""An issuer's keys over time: fetched in the background, the last good set kept, asked for again with moderation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.domain import Clock
from gateway.identity.key_set import KeySet, KeySetError
from gateway.identity.key_source import KeySource
from gateway.telemetry.logging import get_logger

_WAIT_SECONDS = 0.5
"""How long a request may wait for a key that nobody has seen yet, and a start for the first set."""
_AGAIN_SECONDS = 10.0
"""Between two fetches for unknown keys: a flood of made-up key ids must not become a flood of fetches."""
_FIRST_RETRY_SECONDS = 1.0


class KeyRing:
    """`keys` is the last good set, None before there was one."""

    def __init__(
        self,
        name: str,
        source: KeySource | KeySet,
        on_change: Callable[[], None],
        clock: Clock = time.monotonic,
        wait_seconds: float = _WAIT_SECONDS,
    ) -> None:
        self._name = name
        self._source = None if isinstance(source, KeySet) else source
        self.keys = source if isinstance(source, KeySet) else None
        self._on_change = on_change
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._text: bytes | None = None
        self._tried_at = float("-inf")
        self._failures = 0
        self._fetching: asyncio.Task[None] | None = None
        self._logger = get_logger()

    @property
    def current(self) -> bool:
        """Whether the last fetch succeeded, so that a key which is not here is none."""
        return self.keys is not None and not self._failures

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the keys current until exit. The first fetch has ended, or has had its time, before the body runs."""
        if self._source is None:
            yield
            return
        keeping = asyncio.create_task(self._keep(self._source))
        try:
            await self._fetched(self._source)
            yield
        finally:
            tasks = [task for task in (keeping, self._fetching) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def refreshed(self) -> bool:
        """For a key that is not in the set: fetch anew unless that was done a moment ago; say whether to look again.

        Requests that come while one fetch is under way share it. None waits longer than a small bound.
        """
        if self._source is None:
            return False
        if self._fetching is None and self._clock() - self._tried_at < _AGAIN_SECONDS:
            return False
        await self._fetched(self._source)
        return True

    async def _fetched(self, source: KeySource) -> None:
        """Wait for a fetch, as long as a request may wait; the fetch itself goes on."""
        await asyncio.wait([self._fetch_soon(source)], timeout=self._wait_seconds)

    async def _keep(self, source: KeySource) -> None:
        while True:
            await asyncio.wait([self._fetch_soon(source)])
            await asyncio.sleep(self._pause_seconds(source))

    def _fetch_soon(self, source: KeySource) -> asyncio.Task[None]:
        """Return the fetch under way, a new one if there is none."""
        if self._fetching is None:
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._fetch(source))
            self._fetching.add_done_callback(self._fetch_ended)
        return self._fetching

    def _fetch_ended(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled() and (error := task.exception()):
            self._logger.error("keys_not_refreshed", issuer=self._name, error=repr(error))

    def _pause_seconds(self, source: KeySource) -> float:
        if not self._failures:
            return source.refresh_seconds
        return min(source.refresh_seconds, _FIRST_RETRY_SECONDS * (1 << min(self._failures - 1, 10)))

    async def _fetch(self, source: KeySource) -> None:
        try:
            text = await source.fetch()
            if text != self._text:
                self._take(source.parse(text), text)
        except KeySetError as error:
            self._failures += 1
            kept = "the last good keys" if self.keys else "none yet"
            self._logger.warning("keys_not_refreshed", issuer=self._name, error=str(error), kept=kept)
        else:
            self._failures = 0

    def _take(self, keys: KeySet, text: bytes) -> None:
        self.keys, self._text = keys, text
        self._on_change()
        ids = [key.id for key in keys.keys]
        self._logger.info("keys_refreshed", issuer=self._name, keys=ids)
