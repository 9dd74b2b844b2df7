"""Authentication as pure ASGI, before a byte of the body is read."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.identity.authenticator import Authenticator


class AuthenticationMiddleware:
    """Puts the Caller into `scope["state"]["caller"]`; lets the public paths through without one."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, public_paths: frozenset[str]) -> None:
        self._app = app
        self._authenticator = authenticator
        self._public_paths = public_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_public(scope):
            scope["state"]["caller"] = await self._authenticator.authenticate(_authorization(scope))
        await self._app(scope, receive, send)

    def _is_public(self, scope: Scope) -> bool:
        # The path as routed, not a URL rebuilt from the Host header: a crafted Host once bypassed vLLM's own key check.
        path: str = scope["path"]
        return path in self._public_paths or path.startswith("/static/")


def _authorization(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            found: bytes = value
            return found
    return None
