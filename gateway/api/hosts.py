"""Trusted hosts: answer only to the names set, so that a foreign name cannot be pointed at the gateway."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import InvalidRequest


class TrustedHostMiddleware:
    """Like Starlette's, but health paths are exempt (probes ask by address) and a refusal has OpenAI's shape."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._names = frozenset(host.lower() for host in hosts if not host.startswith("*."))
        self._suffixes = tuple(host[1:].lower() for host in hosts if host.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/health") and not self._trusts(_host(scope)):
            raise InvalidRequest("The Host header names a host that this server does not answer to.", code="bad_host")
        await self._app(scope, receive, send)

    def _trusts(self, host: str) -> bool:
        return host in self._names or host.endswith(self._suffixes)


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            host: str = value.decode("latin-1").lower()
            return host if host.endswith("]") else host.rsplit(":", 1)[0] if ":" in host else host
    return ""
