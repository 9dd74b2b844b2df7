"""Servers with less in them than the gateway, to see what each layer costs.

    python -m tests.bench.floors relay|context|authenticated|probed

They read the gateway's settings and run under its uvicorn configuration. `relay` passes requests on over our engine
connection and does nothing else. `context` has the request's context around that, `authenticated` the authentication
too. `probed` is the whole gateway with `GET /bench/tasks` added, how many asyncio tasks there are, and
`GET /bench/objects`, how many objects the garbage collector follows once it has collected.
"""

from __future__ import annotations

import argparse
import asyncio
import gc

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from config import Settings, load_settings
from gateway.api.body import read_body
from gateway.api.context import RequestContextMiddleware
from gateway.app import create_app
from gateway.domain import EngineRequest, UpstreamStream
from gateway.identity import AuthenticationMiddleware
from gateway.lifespan import build_rooms
from gateway.routing.listing import replica_of
from gateway.server import _listen, _spare_the_collector, _uvicorn_config
from gateway.telemetry.logging import RequestLog, configure_logging
from gateway.upstream.client import EngineConnections

_ENGINE_HEADERS = (("content-type", "application/json"), ("accept", "application/json"))
_KEPT_HEADERS = (b"content-type", b"content-length")


class Relay:
    """Read the body, ask the engine, send back what comes, as it comes."""

    def __init__(self, settings: Settings) -> None:
        self._replica = replica_of(settings.routing.engines[0])
        self._engines = EngineConnections()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _live(receive, send)
        elif scope["method"] == "GET":
            await _answer(send, b"")
        else:
            await self._relay(scope, receive, send)

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body({}, receive, limit_bytes=2**20, timeout_seconds=30)
        answer = await self._engines.open(self._replica, EngineRequest("POST", scope["path"], body, _ENGINE_HEADERS))
        try:
            await _pass_on(answer, send)
        finally:
            answer.close()


async def _pass_on(answer: UpstreamStream, send: Send) -> None:
    headers = [(name, value) for name, value in answer.headers.items() if name in _KEPT_HEADERS]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    while part := await answer.read():
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    """Speak ASGI's lifespan."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def with_context(settings: Settings) -> ASGIApp:
    """Return the relay behind the gateway's context."""
    metrics = build_rooms(settings).metrics
    return RequestContextMiddleware(Relay(settings), metrics=metrics, log=RequestLog(settings.telemetry))


def authenticated(settings: Settings) -> ASGIApp:
    """Return the relay behind the gateway's context and authentication."""
    rooms = build_rooms(settings)
    relay = AuthenticationMiddleware(
        Relay(settings),
        authenticator=rooms.identity.authenticator,
        public_paths=frozenset({"/health"}),
        door=rooms.identity.door,
    )
    return RequestContextMiddleware(relay, metrics=rooms.metrics, log=RequestLog(settings.telemetry))


def probed(settings: Settings) -> ASGIApp:
    """Return the gateway, and beside it the numbers of its tasks and objects."""
    app = create_app(settings)

    async def with_probe(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/bench/tasks":
            await _answer(send, str(len(asyncio.all_tasks())).encode())
        elif scope["type"] == "http" and scope["path"] == "/bench/objects":
            gc.collect()
            await _answer(send, str(len(gc.get_objects())).encode())
        else:
            await app(scope, receive, send)

    return with_probe


FLOORS = {"relay": Relay, "context": with_context, "authenticated": authenticated, "probed": probed}


def main() -> None:
    """Serve what the command line names."""
    parser = argparse.ArgumentParser(prog="tests.bench.floors", description="The gateway with less in it.")
    parser.add_argument("floor", choices=FLOORS)
    settings = load_settings()
    configure_logging(settings.telemetry)
    app = FLOORS[parser.parse_args().floor](settings)
    listener = _listen(settings)
    server = uvicorn.Server(_uvicorn_config(app, settings))
    _spare_the_collector()
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
