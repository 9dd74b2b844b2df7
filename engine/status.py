"""The supervisor's own port: liveness and readiness told apart, metrics, and what the engine is doing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine.life import Phase
from engine.supervisor import Supervisor


class StatusApp:
    """`/livez` (the supervisor runs), `/readyz` (the engine takes requests), `/status`, `/metrics`."""

    def __init__(self, supervisor: Supervisor, about: dict[str, Any], stage: Callable[[], str]) -> None:
        self._supervisor = supervisor
        self._about = about
        self._stage = stage
        self._started = time.monotonic()
        self._registry = CollectorRegistry()
        self._ready = Gauge("engine_ready", "1 while the engine takes requests.", registry=self._registry)
        self._restarts = Gauge("engine_restarts", "Restarts within the budget's window.", registry=self._registry)
        self._phase = Gauge("engine_phase", "1 for the phase it is in.", ["phase"], registry=self._registry)

    def app(self) -> Starlette:
        """Return the ASGI app."""
        routes = [
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
            Route("/status", self._status),
            Route("/metrics", self._metrics),
        ]
        return Starlette(routes=routes)

    async def _livez(self, _: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def _readyz(self, _: Request) -> Response:
        ready = self._supervisor.life.ready
        return JSONResponse({"status": "ready" if ready else "not ready"}, status_code=200 if ready else 503)

    async def _status(self, _: Request) -> Response:
        life = self._supervisor.life
        process = self._supervisor.process
        return JSONResponse(
            {
                "state": life.phase,
                "ready": life.ready,
                "stage": self._stage_now(),
                "elapsed_seconds": round(self._supervisor.phase_seconds, 1),
                "restarts": self._supervisor.recent_restarts,
                "pid": process.pid if process else None,
                "last_exit": life.last_exit,
                "reason": life.reason or None,
                **self._about,
            }
        )

    def _stage_now(self) -> str:
        life = self._supervisor.life
        if life.phase is Phase.STARTING:
            return self._stage()
        if life.phase is Phase.READY and not life.healthy:
            return "being ended" if life.killed_because else "not answering"
        return str(life.phase)

    async def _metrics(self, _: Request) -> Response:
        life = self._supervisor.life
        self._ready.set(life.ready)
        self._restarts.set(self._supervisor.recent_restarts)
        for phase in Phase:
            self._phase.labels(phase.value).set(phase is life.phase)
        return Response(generate_latest(self._registry), media_type="text/plain; version=0.0.4; charset=utf-8")
