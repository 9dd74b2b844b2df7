"""Authentication as pure ASGI, before a byte of the body is read."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.domain import Caller
from gateway.identity.authenticator import Authenticator


class AuthenticationMiddleware:
    """Puts the Caller into `scope["state"]["caller"]`; lets the public paths through without one."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, public_paths: frozenset[str]) -> None:
        self._app = app
        self._authenticator = authenticator
        self._public_paths = public_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_public(scope):
            scope["state"]["caller"] = await self._caller(scope)
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        authorization: bytes | None = scope["state"]["headers"].get(b"authorization")
        known = self._authenticator.recall(authorization) if authorization else None
        return known or await self._authenticator.authenticate(authorization)

    def _is_public(self, scope: Scope) -> bool:
        # The path as routed, not a URL rebuilt from the Host header: a crafted Host once bypassed vLLM's own key check.
        path: str = scope["path"]
        return path in self._public_paths or path.startswith("/static/")
