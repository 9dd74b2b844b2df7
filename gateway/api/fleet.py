"""`/admin/fleet` and `/admin/drain`: which engines there are, and what gets no new requests: one, or this gateway."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from gateway.api.pages import page
from gateway.api.state import AdminOf, RoomsOf
from gateway.errors import NotFound
from gateway.lifespan import Rooms
from gateway.routing import Member

router = APIRouter(prefix="/admin", tags=["admin"])


class EngineName(BaseModel):
    """An engine by the name that `x-gateway-replica` and the list give it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    replica: str


@router.get("/fleet")
async def list_engines(rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """List the engines as this gateway sees them."""
    del admin
    return page([engine_card(member) for member in rooms.fleet.members])


@router.post("/fleet/drain")
async def drain_engine(engine: EngineName, rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """Send an engine nothing new; it ends what it has. Every gateway follows within a poll, and restarts keep it."""
    del admin
    _member(rooms, engine)
    await rooms.holds.hold(engine.replica)
    return engine_card(_member(rooms, engine))


@router.post("/fleet/undrain")
async def undrain_engine(engine: EngineName, rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """Take a drained engine back; it gets requests once it is found healthy."""
    del admin
    _member(rooms, engine)
    await rooms.holds.release(engine.replica)
    return engine_card(_member(rooms, engine))


@router.post("/drain")
async def drain_gateway(rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """Stop being ready, so that a load balancer looks elsewhere. What comes all the same is served."""
    del admin
    rooms.draining = True
    return _drain_card(rooms)


@router.delete("/drain")
async def undrain_gateway(rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """Be ready again."""
    del admin
    rooms.draining = False
    return _drain_card(rooms)


def engine_card(member: Member) -> dict[str, Any]:
    """Describe one engine."""
    load = member.load
    return {
        "id": member.replica.name,
        "object": "engine",
        "replica": member.replica.name,
        "state": member.state,
        "models": sorted(member.models),
        "media": sorted(member.media),
        "weight": member.weight,
        "share": round(member.share, 2),
        "max_model_len": member.max_model_len_tokens,
        "version": member.engine_version,
        "in_flight": member.in_flight,
        "prefill_tokens": member.prefill_tokens,
        "running": load.running,
        "waiting": load.waiting,
        "kv_cache_use": load.kv_cache_use,
        "prefix_cache_hit_rate": round(load.prefix_hits / load.prefix_queries, 4) if load.prefix_queries else None,
        "last_error": member.last_error,
    }


def _member(rooms: Rooms, engine: EngineName) -> Member:
    for member in rooms.fleet.members:
        if member.replica.name == engine.replica:
            return member
    raise NotFound(f"There is no engine '{engine.replica}'.", param="replica")


def _drain_card(rooms: Rooms) -> dict[str, Any]:
    """Describe the drain; at 0 requests in flight this process can be stopped without waiting for any."""
    return {"object": "gateway.drain", "draining": rooms.draining, "in_flight": rooms.fleet.in_flight()}
