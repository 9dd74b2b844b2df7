"""Build the rooms, open what must be open, close it all in reverse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from config import Settings
from config.encryption import encryption_keys
from gateway import __version__
from gateway.idempotency import Claims
from gateway.identity import Identity
from gateway.identity.local_key import read_local_key
from gateway.pipeline import Pipeline
from gateway.quota import Ledger, Limiter, Upkeep
from gateway.responses import ResponseStore
from gateway.routing import Discovery, Fleet, FleetWatcher, Holds
from gateway.sessions import Leases, SessionRoom, SessionStore
from gateway.store import Cipher, Store, open_store
from gateway.telemetry.logging import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Tracer, open_tracer
from gateway.upstream.client import EngineConnections


@dataclass(slots=True)
class Rooms:
    """Everything a gateway process is made of. `draining` turns true once, when no new request is wanted."""

    settings: Settings
    metrics: Metrics
    store: Store
    identity: Identity
    fleet: Fleet
    discovery: Discovery
    holds: Holds
    sessions: SessionStore
    session_room: SessionRoom
    responses: ResponseStore
    claims: Claims
    engines: EngineConnections
    pipeline: Pipeline
    limiter: Limiter
    ledger: Ledger
    tracer: Tracer | None
    started: float = field(default_factory=time.time)
    draining: bool = False

    def reload(self) -> None:
        """Read again what may change while running: tenants and engines. From the event loop."""
        self.identity.tenants.ask_to_reload()
        self.discovery.ask_to_reload()


def build_rooms(settings: Settings) -> Rooms:
    """Return the rooms, wired. Reads or makes the local key, reads the tenants' file; opens no connection."""
    metrics = Metrics()
    store = open_store(settings.redis, metrics)
    fleet = Fleet(settings, metrics)
    cipher = Cipher(encryption_keys(settings.sessions.encryption_keys.get_secret_value()))
    sessions = SessionStore(store, settings.sessions, cipher, metrics)
    engines = EngineConnections(
        connect_timeout_seconds=settings.routing.connect_timeout_seconds,
        headers_timeout_seconds=settings.stream.headers_timeout_seconds,
        idle_timeout_seconds=settings.stream.idle_timeout_seconds,
        total_timeout_seconds=settings.stream.total_timeout_seconds,
    )
    fleet.on_gone.append(lambda member: engines.forget(member.replica))
    limiter = Limiter(settings.limits, store, metrics)
    given_key, local_key = _local_keys(settings)
    salt_secret = settings.prompt.cache_salt_secret.get_secret_value() or local_key
    session_room = SessionRoom(sessions, Leases(store, settings.sessions, cipher), settings.sessions, metrics)
    return Rooms(
        settings=settings,
        metrics=metrics,
        store=store,
        identity=Identity(settings, store, metrics, given_key, local_key),
        fleet=fleet,
        discovery=Discovery(fleet, settings),
        holds=Holds(fleet, store, settings.routing.poll_seconds),
        sessions=sessions,
        session_room=session_room,
        responses=ResponseStore(store, settings.responses, cipher, metrics),
        claims=Claims(store, settings.sessions, cipher, metrics),
        engines=engines,
        pipeline=Pipeline(settings, fleet, limiter, session_room, engines, salt_secret.encode()),
        limiter=limiter,
        ledger=Ledger(store),
        tracer=open_tracer(settings.telemetry, __version__),
    )


@asynccontextmanager
async def opened(rooms: Rooms) -> AsyncIterator[None]:
    """Watch identity and fleet until exit, then close engines and Redis: settles on their way go first."""
    logger = get_logger()
    upkeep = Upkeep(rooms.limiter, rooms.settings.limits, rooms.store, rooms.metrics, rooms.fleet.share_with)
    try:
        watcher = FleetWatcher(rooms.fleet, rooms.settings.routing)
        sources, holds = rooms.discovery, rooms.holds
        async with (
            rooms.identity.running(),
            sources.running(),
            holds.running(),
            watcher.running(),
            upkeep.running(),
        ):
            logger.info("gateway_started", engines=[member.replica.name for member in rooms.fleet.members])
            try:
                yield
            finally:
                rooms.draining = True
    finally:
        await rooms.engines.aclose()
        await rooms.store.aclose()
        if rooms.tracer is not None:
            await asyncio.to_thread(rooms.tracer.close)
        logger.info("gateway_stopped")


def _local_keys(settings: Settings) -> tuple[str, str]:
    """Return the key of the operator's choice, empty without one, and the local key."""
    given = settings.auth.api_key.get_secret_value()
    return (given, read_local_key(settings.data_dir))
