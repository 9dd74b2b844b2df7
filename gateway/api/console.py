"""`GET /admin/console`: everything that the live view of operations draws, in one answer.

Counters are as they stand; the page makes rates and percentiles of two answers' difference, over the time that it has
seen. What is here is this gateway process's own, as `/metrics` is.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from gateway import __version__
from gateway.api.state import AdminOf, RoomsOf
from gateway.domain import Limits, Tier
from gateway.errors import Forbidden
from gateway.identity.principal import Principal
from gateway.lifespan import Rooms
from gateway.quota.rules import default_tier
from gateway.routing.member import Member
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.totals import distribution, totals

router = APIRouter(tags=["admin"])

_TOP_TENANTS = 10
_UNKNOWN_MODEL = "unknown"


@router.get("/admin/console")
async def console(rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """Say how this gateway and its engines are doing."""
    del admin
    metrics = rooms.metrics
    return {
        "object": "console",
        "now": time.time(),
        "version": __version__,
        "uptime_seconds": round(time.time() - rooms.started, 1),
        "draining": rooms.draining,
        "redis": rooms.store.healthy,
        "in_flight": sum(member.in_flight for member in rooms.fleet.members),
        "queued": int(metrics.registry.get_sample_value("gateway_queued_requests") or 0),
        "requests": _requests(metrics),
        "retries": int(sum(totals(metrics.retries).values())),
        "tokens": {kind: int(count) for (kind,), count in totals(metrics.tokens, "kind").items()},
        "first_token_seconds": asdict(distribution(metrics.first_token)),
        "inter_token_seconds": asdict(distribution(metrics.token_gap)),
        "engines": [_engine(member) for member in rooms.fleet.members],
        "tenants": _tenants(rooms),
        "errors": [asdict(each) for each in metrics.last_errors.newest_first()],
    }


def _requests(metrics: Metrics) -> dict[str, int]:
    """Return the requests by their outcome: those for an answer, and of the others those that failed."""
    counted: dict[str, int] = {}
    for (model, outcome), count in totals(metrics.requests, "model", "outcome").items():
        if model != _UNKNOWN_MODEL or outcome != "ok":
            counted[outcome] = counted.get(outcome, 0) + int(count)
    return counted


def _engine(member: Member) -> dict[str, Any]:
    return {
        "name": member.replica.name,
        "state": member.state,
        "models": sorted(member.models),
        "version": member.engine_version,
        "in_flight": member.in_flight,
        "last_error": member.last_error,
        **asdict(member.load),
    }


def _tenants(rooms: Rooms) -> list[dict[str, Any]]:
    """Return those who used most tokens since the start, with what their users, and they as a whole, may use."""
    tokens: dict[str, int] = {}
    for (tenant, kind), count in totals(rooms.metrics.tokens, "tenant", "kind").items():
        if kind != "cached":
            tokens[tenant] = tokens.get(tenant, 0) + int(count)
    requests = {tenant: int(count) for (tenant,), count in totals(rooms.metrics.requests, "tenant").items()}
    top = sorted(tokens, key=lambda tenant: tokens[tenant], reverse=True)[:_TOP_TENANTS]
    return [
        {"tenant": tenant, "tokens": tokens[tenant], "requests": requests.get(tenant, 0), **_tier(rooms, tenant)}
        for tenant in top
    ]


def _tier(rooms: Rooms, tenant: str) -> dict[str, Any]:
    try:
        found = rooms.identity.tenants.table.caller(Principal(tenant, user="")).tier
    except Forbidden:
        return {"tier": None, "suspended": True, "limits": {}}
    tier: Tier = found or default_tier(rooms.settings.limits)
    return {"tier": tier.name, "suspended": False, "limits": {"user": _set(tier.user), "tenant": _set(tier.tenant)}}


def _set(limits: Limits) -> dict[str, int]:
    return {name: value for name, value in asdict(limits).items() if value}
