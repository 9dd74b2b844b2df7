"""Health: what probes and curious people ask for."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import time
from typing import Any, Literal

import psutil
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from gateway import __version__
from gateway.api.engine_stage import engine_stage
from gateway.api.fleet import engine_card
from gateway.api.gpu import read_gpus
from gateway.api.state import CallerOf, RoomsOf
from gateway.errors import StoreDown
from gateway.lifespan import Rooms

router = APIRouter(tags=["health"])

_PACKAGES = ("fastapi", "uvicorn", "pydantic", "redis", "pyjwt", "httptools")


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def health() -> dict[str, Any]:
    """Say that the gateway answers; says nothing of engines or Redis."""
    return {"status": "ok", "version": __version__, "timestamp": int(time.time())}


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def live() -> dict[str, str]:
    """Liveness: the event loop turns."""
    return {"status": "live"}


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready")
async def ready(rooms: RoomsOf, scope: Literal["all", "gateway"] = "all") -> JSONResponse:
    """Readiness: a chat sent now could start. With `scope=gateway`: only whether this process takes requests."""
    problems = ["the gateway is draining"] if rooms.draining else []
    if scope == "all":
        if not rooms.fleet.ready:
            problems.append("no engine is ready")
        if not rooms.store.healthy and rooms.settings.limits.on_redis_down == "closed":
            problems.append("Redis is away")
    if problems:
        return JSONResponse({"status": "not ready", "problems": problems}, status_code=503)
    return JSONResponse({"status": "ready"})


@router.head("/health/detailed", include_in_schema=False)
@router.get("/health/detailed")
async def detailed(rooms: RoomsOf, caller: CallerOf) -> dict[str, Any]:
    """Describe engines, Redis, versions and this machine."""
    del caller
    engines = [engine_card(member) for member in rooms.fleet.members]
    redis, machine = await asyncio.gather(_redis(rooms), asyncio.to_thread(_machine))
    well = rooms.fleet.ready and redis["status"] == "ok" and not rooms.draining
    return {
        "status": "ok" if well else "degraded",
        "draining": rooms.draining,
        "uptime_seconds": round(time.time() - rooms.started, 1),
        "engines": engines,
        "loading": None if rooms.fleet.ready else await engine_stage(rooms.settings),
        "redis": redis,
        "limits": {
            "decided_by": "redis" if redis["status"] == "ok" else rooms.settings.limits.on_redis_down,
            "gateways": rooms.limiter.gateways,
            "settles_held": rooms.limiter.settles.held,
        },
        "versions": _versions(),
        **machine,
    }


async def _redis(rooms: Rooms) -> dict[str, Any]:
    try:
        seconds = await rooms.store.ping()
        server = await rooms.store.info()
    except StoreDown:
        return {"status": "away"}
    version = server.get("redis_version", "unknown").strip()
    return {"status": "ok", "ping_ms": round(seconds * 1000, 3), "version": version}


def _versions() -> dict[str, str]:
    found = {"gemma-gateway": __version__, "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _machine() -> dict[str, Any]:
    """Read what blocks for a moment; called in a thread."""
    memory = psutil.virtual_memory()
    return {
        "cpu": {"percent": psutil.cpu_percent(interval=0.1), "count": psutil.cpu_count()},
        "memory": {
            "total_bytes": memory.total,
            "available_bytes": memory.available,
            "process_bytes": psutil.Process().memory_info().rss,
        },
        "gpus": read_gpus(),
    }
