"""A bearer credential → a Caller, with the answer of an expensive check kept for a while."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from config import AuthSettings
from config.schema import AuthMode
from gateway.domain import Caller
from gateway.errors import Unauthenticated
from gateway.identity.jwt import JwtVerifier
from gateway.identity.keys import KeyStore

_CACHE_ENTRIES = 10_000
_KEY_CACHE_SECONDS = 1.0
"""How long a key found in Redis is believed, and so how long a revoked one may still work."""

LOCAL = Caller(tenant="local", user="local", scopes=frozenset({"admin"}))
ANONYMOUS = Caller(tenant="local", user="anonymous", scopes=frozenset({"admin"}))


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    until: float


class Authenticator:
    """Knows every kind of credential. `local_key` is the one of this machine (file or GATEWAY_API_KEY), if any."""

    def __init__(
        self, settings: AuthSettings, keys: KeyStore, local_keys: tuple[str, ...], now: Callable[[], float] = time.time
    ) -> None:
        self._open = settings.mode is AuthMode.OFF
        self._jwt = JwtVerifier(settings)
        self._keys = keys
        self._local_keys = tuple(key.encode() for key in local_keys if key)
        self._now = now
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def recall(self, authorization: bytes) -> Caller | None:
        """Return who sent this header before, if that still holds: the hot path, without any I/O."""
        known = self._known.get(authorization)
        if known is not None and known.until > self._now():
            self._known.move_to_end(authorization)
            return known.caller
        return None

    async def authenticate(self, authorization: bytes | None) -> Caller:
        """Return the caller. Raises Unauthenticated; StoreDown where only Redis could tell."""
        if self._open:
            return ANONYMOUS
        if authorization is None:
            raise Unauthenticated("No credential. Send `Authorization: Bearer <API key or JWT>`.")
        known = self.recall(authorization)
        if known is not None:
            return known
        caller, until = await self._check(_bearer(authorization))
        self._remember(authorization, _Known(caller, until))
        return caller

    async def _check(self, credential: str) -> tuple[Caller, float]:
        if self._is_local(credential):
            return LOCAL, float("inf")
        if credential.count(".") == 2 and self._jwt.enabled:
            return self._jwt.verify(credential)
        found = await self._keys.find(credential)
        if found is None:
            raise Unauthenticated("The API key is not valid.")
        return found, self._now() + _KEY_CACHE_SECONDS

    def _is_local(self, credential: str) -> bool:
        given = credential.encode("utf-8", "surrogateescape")
        # Every key is compared, whichever matches, so that the time taken says nothing.
        return sum(hmac.compare_digest(given, key) for key in self._local_keys) > 0

    def _remember(self, authorization: bytes, known: _Known) -> None:
        self._known[authorization] = known
        self._known.move_to_end(authorization)
        while len(self._known) > _CACHE_ENTRIES:
            self._known.popitem(last=False)


def _bearer(authorization: bytes) -> str:
    scheme, _, credential = authorization.decode("utf-8", "surrogateescape").partition(" ")
    credential = credential.strip()
    if scheme.lower() != "bearer" or not credential:
        raise Unauthenticated("The Authorization header must be `Bearer <API key or JWT>`.")
    return credential
