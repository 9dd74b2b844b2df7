"""Routes, middleware and error handlers, and nothing else. `create_app` is the only way in; no work at import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from config import Settings
from gateway import __version__
from gateway.api import (
    auth,
    chat_sessions,
    console,
    docs,
    exposition,
    fleet,
    health,
    keys,
    models,
    responses,
    revocations,
    session_messages,
    sessions,
    tokenize,
    usage,
    web_pages,
)
from gateway.api.body import BoundedBodyMiddleware
from gateway.api.chat_sessions import ChatSessionEndpoint
from gateway.api.completions import CompletionsEndpoint
from gateway.api.context import RequestContextMiddleware
from gateway.api.faults import FaultMiddleware, translate_http_exception, translate_validation_error
from gateway.api.hosts import TrustedHostMiddleware
from gateway.api.hot import HotRoutesMiddleware
from gateway.api.responses import ResponsesEndpoint
from gateway.api.session_messages import SessionMessagesEndpoint
from gateway.api.transcriptions import TranscriptionsEndpoint
from gateway.domain import Endpoint
from gateway.identity import AuthenticationMiddleware
from gateway.lifespan import Rooms, build_rooms, opened
from gateway.prompt.transcription import Task
from gateway.telemetry.logging import RequestLog

_EXPOSED_HEADERS = (
    *("x-request-id", "x-session-id", "x-gateway-replica", "retry-after", "retry-after-ms", "x-should-retry"),
    *("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    *("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    "idempotent-replayed",
)


class Gateway(FastAPI):
    """FastAPI without its outermost layer, which answers errors: ours does, and it would wrap every message too."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the layers."""
        stack = super().build_middleware_stack()
        return stack.app if isinstance(stack, ServerErrorMiddleware) else stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)


def create_app(settings: Settings) -> FastAPI:
    """Return the gateway as an ASGI app. What it holds is opened by its lifespan."""
    rooms = build_rooms(settings)
    endpoints: dict[str, ASGIApp] = {endpoint.value: CompletionsEndpoint(endpoint, rooms) for endpoint in Endpoint}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with opened(rooms):
            yield

    app = Gateway(
        title="gemma-gateway",
        version=__version__,
        description="An OpenAI-compatible gateway for Gemma 3n on vLLM.",
        lifespan=lifespan,
        middleware=_middleware(rooms, endpoints),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={
            HTTPException: translate_http_exception,
            RequestValidationError: translate_validation_error,
        },
    )
    app.state.rooms = rooms
    # The hot routes come first: the router tries its routes in order.
    hot = [Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()]
    hot += [Route(task.value, TranscriptionsEndpoint(task, rooms), methods=["POST"]) for task in Task]
    hot.append(Route(responses.PATH, ResponsesEndpoint(rooms), methods=["POST"]))
    hot.append(Route(session_messages.PATH, SessionMessagesEndpoint(rooms), methods=["POST"]))
    regenerate = SessionMessagesEndpoint(rooms, regenerate=True)
    hot.append(Route(session_messages.REGENERATE_PATH, regenerate, methods=["POST"]))
    for path, stream in ((chat_sessions.MESSAGES_PATH, False), (chat_sessions.STREAM_PATH, True)):
        hot.append(Route(path, ChatSessionEndpoint(rooms, stream=stream), methods=["POST"]))
    app.router.routes[:0] = hot
    for routes in (
        models,
        tokenize,
        responses,
        sessions,
        chat_sessions,
        usage,
        auth,
        keys,
        revocations,
        fleet,
        console,
        health,
        docs,
        web_pages,
    ):
        app.include_router(routes.router)
    if not settings.telemetry.metrics_port:
        app.include_router(exposition.router)
    app.mount("/static", docs.static_files(), name="static")
    app.openapi = docs.openapi_of(app, _public_paths(settings))  # type: ignore[method-assign]
    return app


def _middleware(rooms: Rooms, endpoints: dict[str, ASGIApp]) -> list[Middleware]:
    """Return the layers, outermost first."""
    server = rooms.settings.server
    log = RequestLog(rooms.settings.telemetry)
    layers = [Middleware(RequestContextMiddleware, metrics=rooms.metrics, log=log, tracer=rooms.tracer)]
    if server.cors_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=server.cors_origins,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=_EXPOSED_HEADERS,
                max_age=600,
            )
        )
    layers.append(Middleware(FaultMiddleware))
    if "*" not in server.trusted_hosts:
        layers.append(Middleware(TrustedHostMiddleware, hosts=server.trusted_hosts))
    layers.append(
        Middleware(
            AuthenticationMiddleware,
            authenticator=rooms.identity.authenticator,
            public_paths=_public_paths(rooms.settings),
            door=rooms.identity.door,
        )
    )
    layers.append(Middleware(HotRoutesMiddleware, endpoints=endpoints))
    layers.append(Middleware(BoundedBodyMiddleware, server.max_body_bytes, server.body_timeout_seconds))
    return layers


def _public_paths(settings: Settings) -> frozenset[str]:
    paths = {"/", "/console", "/health", "/health/live", "/health/ready", auth.LOGIN_PATH}
    if settings.telemetry.metrics_public:
        paths.add("/metrics")
    if settings.telemetry.docs_public:
        paths |= {"/docs", "/redoc", "/openapi.json"}
    return frozenset(paths)
