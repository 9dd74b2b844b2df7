"""Which engines there are, asked for again and again: the settings, a file, a name in DNS.

What cannot be read changes nothing: a resolver that fails or a file that is half written takes no engine away. Whether
an engine is there at all is the watcher's to find out.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from config import Settings, SettingsError
from gateway.routing.fleet import Fleet
from gateway.routing.listing import Listing, listed_in, listings_of, replica_at
from gateway.telemetry.logging import get_logger

_RESOLVE_SECONDS = 5.0


class Discovery:
    """Keeps a fleet's members to what its sources list."""

    def __init__(self, fleet: Fleet, settings: Settings) -> None:
        self.reread: Callable[[], Settings] = lambda: settings
        """Reads the settings again, and may block; its SettingsError keeps the engines that they named before."""
        self._fleet = fleet
        self._asked = asyncio.Event()
        self._routing = settings.routing
        self._named = listed_in(settings)
        self._in_file: tuple[Listing, ...] = ()
        self._in_dns: tuple[Listing, ...] = ()
        self._logger = get_logger()
        self._problems: dict[str, str] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look until exit; the first look has ended before the body runs."""
        await self.look()
        task = asyncio.create_task(self._keep_looking())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def ask_to_reload(self) -> None:
        """Have the settings read again soon, and look at once. From the event loop."""
        self._asked.set()

    async def look(self) -> None:
        """Read the file and resolve the name, and have the fleet follow."""
        await asyncio.gather(self._read_file(), self._resolve())
        self._apply()

    async def _keep_looking(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._routing.discovery_seconds):
                    await self._asked.wait()
            if self._asked.is_set():
                self._asked.clear()
                await self._reread()
            await self.look()

    async def _reread(self) -> None:
        try:
            self._named = listed_in(await asyncio.to_thread(self.reread))
        except SettingsError as error:
            self._logger.warning("settings_not_reloaded", problems=error.problems, kept="the engines as they were")
        else:
            self._logger.info("settings_reloaded", engines=[each.replica.name for each in self._named])

    def _apply(self) -> None:
        # An engine that several sources list is one; what the file says of it counts.
        listings = {each.replica.name: each for each in (*self._in_dns, *self._named, *self._in_file)}
        self._fleet.update(listings.values())

    async def _read_file(self) -> None:
        path = self._routing.engines_file
        if path is None:
            return
        try:
            text = await asyncio.to_thread(path.read_text, encoding="utf-8")
            self._in_file = listings_of(text, self._routing.media)
        except (OSError, ValueError) as error:
            self._report("routing.engines_file", str(error))
        else:
            self._report("routing.engines_file", "")

    async def _resolve(self) -> None:
        host, _, port = self._routing.dns.rpartition(":")
        if not host:
            return
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(
                    host.strip("[]"), int(port), type=socket.SOCK_STREAM
                )
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError.
            self._report("routing.dns", str(error) or type(error).__name__)
            return
        self._report("routing.dns", "")
        addresses = dict.fromkeys(address[4][0] for address in found)
        self._in_dns = tuple(Listing(replica_at(str(each), int(port)), media=self._routing.media) for each in addresses)

    def _report(self, source: str, problem: str) -> None:
        """Log a problem when it begins or changes, and its end."""
        if self._problems.get(source, "") != problem:
            self._problems[source] = problem
            if problem:
                self._logger.warning("engines_not_read", source=source, problem=problem)
            else:
                self._logger.info("engines_read_again", source=source)
