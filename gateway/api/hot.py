"""The short way to the hot routes: from authentication straight to their endpoints.

FastAPI's own layers (exception handling, its exit stack, trying every route's expression) have nothing to do for them
and cost as much as everything else of ours before the engine is asked. Other methods and paths go on as ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send


class HotRoutesMiddleware:
    """Serves `POST` to the given paths; the same endpoints are routes of the app too, which describes them."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._endpoints = endpoints

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Return what serves the request, to be awaited: another coroutine around it would do nothing."""
        endpoint = self._endpoints.get(scope.get("path", "")) if scope["type"] == "http" else None
        if endpoint is None or scope["method"] != "POST":
            endpoint = self._app
        return endpoint(scope, receive, send)
