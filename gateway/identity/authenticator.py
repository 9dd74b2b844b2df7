"""A bearer credential → a Caller, with the answer of an expensive check kept for a while."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from config import AuthSettings
from config.schema import AuthMode
from gateway.domain import Caller
from gateway.errors import Unauthenticated
from gateway.identity.issuers import Issuers
from gateway.identity.keys import KeyStore
from gateway.identity.principal import Principal
from gateway.identity.tenants_watch import Tenants

_CACHE_ENTRIES = 10_000
_KEY_CACHE_SECONDS = 1.0
"""How long a key found in Redis is believed, and so how long a revoked one may still work."""

LOCAL = Principal(tenant="local", user="local", scopes=frozenset({"admin"}))
ANONYMOUS = Principal(tenant="local", user="anonymous", scopes=frozenset({"admin"}))


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    until: float


class Authenticator:
    """Knows every kind of credential. `local_keys` are those of this machine (file, GATEWAY_API_KEY), if any."""

    def __init__(
        self,
        settings: AuthSettings,
        issuers: Issuers,
        keys: KeyStore,
        tenants: Tenants,
        local_keys: tuple[str, ...],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._open = settings.mode is AuthMode.OFF
        self._issuers = issuers
        self._keys = keys
        self._tenants = tenants
        # Who is remembered was found with the keys and the table of that moment.
        tenants.on_change(self.forget)
        issuers.on_change(self.forget)
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

    def forget(self) -> None:
        """Remember nobody: who is to be believed, or what callers are entitled to, may have changed."""
        self._known.clear()

    async def authenticate(self, authorization: bytes | None) -> Caller:
        """Return the caller. Raises Unauthenticated; Forbidden for a suspended tenant; StoreDown or IssuerUnavailable
        where only Redis or the issuer could tell.
        """
        if self._open:
            return self._tenants.table.caller(ANONYMOUS)
        if authorization is None:
            raise Unauthenticated("No credential. Send `Authorization: Bearer <API key or JWT>`.")
        known = self.recall(authorization)
        if known is not None:
            return known
        principal = await self._check(_bearer(authorization))
        # No waiting from here on, so that nobody is remembered by a table that is no longer the one.
        caller = self._tenants.table.caller(principal)
        self._remember(authorization, _Known(caller, principal.until))
        return caller

    async def _check(self, credential: str) -> Principal:
        if self._is_local(credential):
            return LOCAL
        if credential.count(".") == 2:
            return await self._issuers.verify(credential)
        found = await self._keys.find(credential)
        if found is None:
            raise Unauthenticated("The API key is not valid.")
        return replace(found, until=self._now() + _KEY_CACHE_SECONDS)

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
