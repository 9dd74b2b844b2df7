"""Keys of requests that are to be answered once, in Redis: claimed, then either answered or given back.

The header and its meaning: draft-ietf-httpapi-idempotency-key-header. A key is its tenant's and user's own, and stands
for one request: the same key with another body is a mistake of the client.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from typing import Self

import orjson

from config import SessionsSettings
from gateway.domain import Caller, Headers
from gateway.errors import InvalidRequest, RequestInProgress, StoreDown
from gateway.store import Cipher, Store, keys, load_script
from gateway.telemetry.logging import get_logger
from gateway.telemetry.metrics import Metrics

_CLAIM = load_script("gateway.idempotency", "claim.lua")
_FINISH = load_script("gateway.idempotency", "finish.lua")
_DROP = load_script("gateway.idempotency", "drop.lua")
_RENEW = load_script("gateway.idempotency", "renew.lua")
_HEADER = "Idempotency-Key"
_MAX_KEY_CHARACTERS = 255
_RETRY_MS = 1000


@dataclass(frozen=True, slots=True)
class Recorded:
    """A finished answer of status 200, ready to be sent again."""

    headers: Headers
    body: bytes


class Claim:
    """One request's right to be the one that is answered, until it is exited. Given back unless an answer was kept."""

    __slots__ = ("_claims", "_key", "_tenant", "_timer", "_token", "open")

    def __init__(self, claims: Claims, tenant: str, key: str, token: str) -> None:
        self._claims = claims
        self._tenant = tenant
        self._key = key
        self._token = token
        self._timer: asyncio.TimerHandle | None = None
        self.open = True

    def __enter__(self) -> Self:
        self._renew_later()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.open:
            self.open = False
            self._claims.store.post_script(_DROP, [self._key], [self._token])

    async def keep(self, recorded: Recorded) -> None:
        """Keep the answer for whoever sends the request again. Where Redis is away it is not kept, and the log says so.

        It is not refused to its client for that: it is whole, and a session has it.
        """
        self.open = False
        pairs = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in recorded.headers]
        body = self._claims.cipher.seal(recorded.body, self._tenant)
        arguments: list[str | int | bytes] = [self._token, self._claims.keep_seconds, orjson.dumps(pairs), body]
        try:
            await self._claims.store.run(_FINISH, [self._key], arguments)
        except StoreDown:
            get_logger().warning("idempotent_answer_not_kept")

    def _renew_later(self) -> None:
        after_seconds = self._claims.claim_ms / 3000
        self._timer = asyncio.get_running_loop().call_later(after_seconds, self._renew)

    def _renew(self) -> None:
        if self.open:
            self._claims.store.post_script(_RENEW, [self._key], [self._token, self._claims.claim_ms])
            self._renew_later()


class Claims:
    """One for a gateway process."""

    def __init__(self, store: Store, settings: SessionsSettings, cipher: Cipher, metrics: Metrics) -> None:
        self.store = store
        self.cipher = cipher
        self.keep_seconds = settings.idempotency_seconds
        self.claim_ms = int(settings.lease_seconds * 1000)
        self._metrics = metrics

    async def claim(self, caller: Caller, given: str, request: bytes) -> Claim | Recorded:
        """Return the claim on a key, to be entered, or the answer that its request has had.

        `request` is all that makes it what it is. Raises RequestInProgress, InvalidRequest, StoreDown.
        """
        if not (0 < len(given) <= _MAX_KEY_CHARACTERS and given.isascii() and given.isprintable()):
            raise InvalidRequest(
                f"'{_HEADER}' must be 1 to {_MAX_KEY_CHARACTERS} printable ASCII characters.", param=_HEADER
            )
        key = keys.idempotency(caller.tenant, hashlib.sha256(f"{caller.user}\0{given}".encode()).hexdigest())
        token = secrets.token_hex(16)
        digest = hashlib.sha256(request).hexdigest()
        try:
            kind, *rest = await self.store.run(_CLAIM, [key], [digest, token, self.claim_ms])
        except asyncio.CancelledError:
            self.store.post_script(_DROP, [key], [token])
            raise
        outcome = kind.decode()
        self._metrics.idempotent.labels(outcome).inc()
        return Claim(self, caller.tenant, key, token) if outcome == "claimed" else self._known(caller, outcome, rest)

    def _known(self, caller: Caller, outcome: str, rest: list[bytes]) -> Recorded:
        """Return the answer of a key that is claimed already."""
        if outcome == "other":
            raise InvalidRequest(
                f"This '{_HEADER}' was used for another request.", param=_HEADER, code="idempotency_key_reused"
            )
        if outcome == "running":
            raise RequestInProgress("The same request is being answered.", retry_after_ms=_RETRY_MS)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in orjson.loads(rest[0])]
        return Recorded(headers, self.cipher.open(rest[1], caller.tenant))
