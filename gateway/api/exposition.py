"""`/metrics` on the main port; not there where metrics have a port of their own, which `gateway/server.py` opens."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.api.state import RoomsOf

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response)
async def metrics(rooms: RoomsOf) -> Response:
    """Prometheus's text format."""
    return Response(rooms.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
