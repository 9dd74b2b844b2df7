"""Authentication as pure ASGI, before a byte of the body is read."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.domain import Caller
from gateway.errors import TooManyAttempts, Unauthenticated
from gateway.identity.authenticator import Authenticator
from gateway.identity.client_address import Networks, client_address
from gateway.identity.failed_attempts import FailedAttempts
from gateway.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Door:
    """What stands at the door beside the authenticator: who counts failures, and whose word on addresses is taken."""

    attempts: FailedAttempts
    trusted_proxies: Networks
    metrics: Metrics

    def refusal(self, error: Unauthenticated, scope: Scope, *, tried: bool) -> Unauthenticated | TooManyAttempts:
        """Return how a credential that does not hold is answered. Only now, so that a good one never waits."""
        if not tried:
            self.metrics.authentication_failures.labels("missing").inc()
            return error
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        peer = scope["client"][0] if scope.get("client") else None
        wait_ms = self.attempts.failed(client_address(peer, forwarded, self.trusted_proxies))
        self.metrics.authentication_failures.labels("limited" if wait_ms else "invalid").inc()
        if not wait_ms:
            return error
        return TooManyAttempts("The credential is not valid, as too many from your address.", retry_after_ms=wait_ms)


class AuthenticationMiddleware:
    """Puts the Caller into `scope["state"]["caller"]`; lets the public paths through without one."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, public_paths: frozenset[str], door: Door) -> None:
        self._app = app
        self._authenticator = authenticator
        self._public_paths = public_paths
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if not self._is_public(scope):
                scope["state"]["caller"] = await self._caller(scope)
            # What a public route itself finds not to hold, such as a login code, counts like any credential.
            await self._app(scope, receive, send)
        except Unauthenticated as error:
            tried = self._is_public(scope) or b"authorization" in scope["state"]["headers"]
            raise self._door.refusal(error, scope, tried=tried) from None

    async def _caller(self, scope: Scope) -> Caller:
        authorization: bytes | None = scope["state"]["headers"].get(b"authorization")
        known = self._authenticator.recall(authorization) if authorization else None
        return known or await self._authenticator.authenticate(authorization)

    def _is_public(self, scope: Scope) -> bool:
        # The path as routed, not a URL rebuilt from the Host header: a crafted Host once bypassed vLLM's own key check.
        path: str = scope["path"]
        return path in self._public_paths or path.startswith("/static/")
