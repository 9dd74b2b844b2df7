"""Ask every engine how it is, once a poll: `/health` for whether, `/v1/models` for what it serves.

vLLM's port refuses connections until the model is loaded, so the first 200 means ready. An engine that dies is taken
out at once by the request that notices (`Fleet.mark_sick`); the watcher brings it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from config import RoutingSettings
from gateway.domain import Replica
from gateway.routing.fleet import Fleet
from gateway.routing.member import Member, State
from gateway.telemetry.logging import get_logger

_TIMEOUT_SECONDS = 5.0


class FleetWatcher:
    """Keeps the states of a fleet's members true. One task a member, so that a slow one delays no other."""

    def __init__(self, fleet: Fleet, settings: RoutingSettings) -> None:
        self._fleet = fleet
        self._poll_seconds = settings.poll_seconds
        self._logger = get_logger()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch until exit. The first poll of every member has ended, well or not, before the body runs."""
        clients = [_client(member.replica) for member in self._fleet.members]
        pairs = list(zip(self._fleet.members, clients, strict=True))
        try:
            await asyncio.gather(*(self._poll(member, client) for member, client in pairs))
            tasks = [asyncio.create_task(self._watch(member, client)) for member, client in pairs]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for client in clients:
                await client.aclose()

    async def _watch(self, member: Member, client: httpx.AsyncClient) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await member.doubted.wait()
            member.doubted.clear()
            await self._poll(member, client)

    async def _poll(self, member: Member, client: httpx.AsyncClient) -> None:
        before = member.state
        try:
            (await client.get("/health")).raise_for_status()
            if before is not State.READY or not member.models:
                await self._learn(member, client)
        except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError) as error:
            member.last_error = f"{type(error).__name__}: {error}"
            if before is State.READY:
                self._fleet.set_state(member, State.SICK)
        else:
            if before is not State.READY:
                member.last_error = None
                self._fleet.set_state(member, State.READY)
        if member.state is not before:
            self._logger.info("replica_state", replica=member.replica.name, state=member.state, was=before)

    async def _learn(self, member: Member, client: httpx.AsyncClient) -> None:
        cards: list[dict[str, Any]] = (await client.get("/v1/models")).raise_for_status().json()["data"]
        self._fleet.learned(member, frozenset(str(card["id"]) for card in cards))
        member.max_model_len_tokens = next((card.get("max_model_len") for card in cards), None)
        version = await client.get("/version")
        member.engine_version = version.json().get("version") if version.status_code == httpx.codes.OK else None


def _client(replica: Replica) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=replica.unix_socket) if replica.unix_socket else None
    return httpx.AsyncClient(base_url=replica.base_url, transport=transport, timeout=_TIMEOUT_SECONDS, trust_env=False)
