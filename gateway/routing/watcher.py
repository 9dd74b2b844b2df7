"""Ask every engine how it is, once a poll: `/health` for whether, `/v1/models` for what it serves, `/metrics` for load.

Once it is there it is also asked which media it takes.

vLLM's port refuses connections until the model is loaded, so the first 200 means ready. An engine that dies is taken
out at once by the request that notices (`Fleet.mark_sick`); the watcher brings it back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from config import RoutingSettings
from gateway.domain import Replica
from gateway.routing import breaker
from gateway.routing.engine_load import UNKNOWN_LOAD, engine_load
from gateway.routing.fleet import Fleet
from gateway.routing.media_probe import media_of
from gateway.routing.member import Member, State

_NOT_WELL = (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError, AttributeError)
"""What asking an engine raises that cannot be reached or says what no engine says."""


class FleetWatcher:
    """Keeps the states of a fleet's members true. One task a member, so that a slow one delays no other."""

    def __init__(self, fleet: Fleet, settings: RoutingSettings) -> None:
        self._fleet = fleet
        self._settings = settings
        self._tasks: dict[Member, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch until exit, also engines that join. The first poll of those that are there ends before the body."""
        polled = [self._watch(member) for member in self._fleet.members]
        self._fleet.on_joined.append(self._join)
        self._fleet.on_gone.append(self._forget)
        try:
            await asyncio.gather(*(event.wait() for event in polled))
            yield
        finally:
            self._fleet.on_joined.remove(self._join)
            self._fleet.on_gone.remove(self._forget)
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _watch(self, member: Member) -> asyncio.Event:
        """Watch a member; the event that is returned is set when it has been polled once, or never will be."""
        polled = asyncio.Event()
        task = self._tasks[member] = asyncio.create_task(self._keep_polling(member, polled))
        # However it ends, also before it has begun: the start waits for this.
        task.add_done_callback(lambda _: polled.set())
        return polled

    def _join(self, member: Member) -> None:
        self._watch(member)

    def _forget(self, member: Member) -> None:
        task = self._tasks.pop(member, None)
        if task is not None:
            task.cancel()

    async def _keep_polling(self, member: Member, polled: asyncio.Event) -> None:
        try:
            async with _Client(member.replica, self._settings.poll_timeout_seconds) as client:
                while True:
                    await self._poll(member, client)
                    polled.set()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._settings.poll_seconds):
                            await member.doubted.wait()
                    member.doubted.clear()
        except httpx.InvalidURL as error:
            # There is no asking at such an address, now or later.
            self._not_well(member, error)

    async def _poll(self, member: Member, client: httpx.AsyncClient) -> None:
        before = member.state
        try:
            (await client.get("/health")).raise_for_status()
            if before is not State.READY or not member.models or member.asks_media:
                await self._learn(member, client)
        except _NOT_WELL as error:
            self._not_well(member, error)
            return
        if member.state is State.READY:
            breaker.grow(member, self._settings, self._settings.poll_seconds)
        elif member.state is before and time.monotonic() >= member.ejected_until:
            member.last_error = None
            self._fleet.set_state(member, State.READY)
        await self._measure(member, client)

    def _not_well(self, member: Member, error: Exception) -> None:
        member.last_error = f"{type(error).__name__}: {error}"
        # The state as it was asked for: a request may have found out more meanwhile.
        if member.state is State.READY:
            self._fleet.set_state(member, State.SICK)

    async def _learn(self, member: Member, client: httpx.AsyncClient) -> None:
        cards: list[dict[str, Any]] = (await client.get("/v1/models")).raise_for_status().json()["data"]
        names = [str(card["id"]) for card in cards]
        if member.stated_media is None and names:
            member.learnt_media = await media_of(client, names[0])
        self._fleet.learned(member, frozenset(names))
        member.max_model_len_tokens = next((card.get("max_model_len") for card in cards), None)
        version = await client.get("/version")
        member.engine_version = version.json().get("version") if version.status_code == httpx.codes.OK else None

    async def _measure(self, member: Member, client: httpx.AsyncClient) -> None:
        """Read the load. An engine without such metrics is as good as any; its load is what we give it."""
        ours = member.in_flight
        try:
            member.load = engine_load((await client.get("/metrics")).raise_for_status().text)
        except (httpx.HTTPError, ValueError, OverflowError):  # The last of an infinite figure.
            member.load = UNKNOWN_LOAD
        # What is ours may have begun or ended while the engine counted.
        member.others = max(0, member.load.running + member.load.waiting - max(ours, member.in_flight))


class _Client(httpx.AsyncClient):
    """Asks one engine. A whole answer has the time that httpx would give each read of it."""

    def __init__(self, replica: Replica, timeout_seconds: float) -> None:
        transport = httpx.AsyncHTTPTransport(uds=replica.unix_socket) if replica.unix_socket else None
        super().__init__(base_url=replica.base_url, transport=transport, timeout=None, trust_env=False)
        self._timeout_seconds = timeout_seconds

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request and read its answer. Raises httpx.ReadTimeout where that takes too long."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await super().send(request, **options)
        except TimeoutError:
            raise httpx.ReadTimeout("The engine took too long.", request=request) from None
