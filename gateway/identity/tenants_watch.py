"""Keeps the table of tenants as its file is: read again on SIGHUP and when it changes, all of it or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from config import SettingsError
from config.tenants import read_tenants
from gateway.identity.tenants import TenantTable, table_of
from gateway.telemetry.logging import get_logger

_POLL_SECONDS = 1.0

_Stamp = tuple[int, int, int] | None


class Tenants:
    """`table` is the last good one. Without a file (an empty name) it is empty and stays so."""

    def __init__(self, file: str = "", poll_seconds: float = _POLL_SECONDS) -> None:
        """Read the file. Raises SettingsError where it does not hold: a gateway does not start without its limits."""
        self._path = Path(file) if file else None
        self._poll_seconds = poll_seconds
        self._stamp = _stamp(self._path)
        self.table = table_of(read_tenants(self._path)) if self._path else TenantTable()
        self._on_change: list[Callable[[], None]] = []
        self._asked = asyncio.Event()
        self._logger = get_logger()

    def on_change(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever the table has been exchanged."""
        self._on_change.append(call)

    def ask_to_reload(self) -> None:
        """Have the file read soon, changed or not. From the event loop."""
        self._asked.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch the file until exit."""
        task = asyncio.create_task(self._watch(self._path)) if self._path else None
        try:
            yield
        finally:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, path: Path) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            # Taken before the file is read: what is written in between is seen the next time.
            stamp = await asyncio.to_thread(_stamp, path)
            if asked or stamp != self._stamp:
                self._stamp = stamp
                await self._reload(path)

    async def _reload(self, path: Path) -> None:
        try:
            table = table_of(await asyncio.to_thread(read_tenants, path))
        except SettingsError as error:
            self._logger.warning("tenants_not_reloaded", problems=error.problems, kept="the last good table")
            return
        self.table = table
        for call in self._on_change:
            call()
        self._logger.info("tenants_reloaded", tiers=sorted(table.tiers), tenants=len(table.tenants))


def _stamp(path: Path | None) -> _Stamp:
    """Return what is another after a change, also where a link is pointed elsewhere, as Kubernetes does."""
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status else None
