"""How far an engine on this machine is while it loads: vLLM says nothing until it is ready, but its supervisor does."""

from __future__ import annotations

from typing import Any

import httpx

from config import Settings
from gateway.domain import bracketed

_TIMEOUT_SECONDS = 0.5


async def engine_stage(settings: Settings) -> dict[str, Any]:
    """Return `stage` and `seconds` as the supervisor tells them, None where there is none to ask."""
    status: dict[str, Any] = {}
    if not settings.routing.sources:
        status = await _status(f"http://{bracketed(settings.engine.host)}:{settings.engine.status_port}/status")
    return {"stage": status.get("stage"), "seconds": status.get("elapsed_seconds")}


async def _status(url: str) -> dict[str, Any]:
    try:
        # It is on this machine, which no proxy can reach.
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_SECONDS) as client:
            status = (await client.get(url)).json()
    except (httpx.HTTPError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}
