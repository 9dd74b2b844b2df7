"""A bearer credential → a Caller, with the answer of an expensive check kept for a while."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

from config import AuthSettings
from config.schema import AuthMode
from gateway.domain import Caller
from gateway.errors import Unauthenticated
from gateway.identity.issuers import Issuers
from gateway.identity.key_uses import KeyUses
from gateway.identity.keys import KeyStore
from gateway.identity.principal import Principal
from gateway.identity.revocations import Revocations
from gateway.identity.tenants_watch import Tenants

_CACHE_ENTRIES = 10_000
_KEY_CACHE_SECONDS = 1.0
"""How long a key found in Redis is believed, and so how long a revoked one may still work."""

_SCHEME = b"Bearer "

LOCAL = Principal(tenant="local", user="local", scopes=frozenset({"admin"}))
ANONYMOUS = Principal(tenant="local", user="anonymous", scopes=frozenset({"admin"}))


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    principal: Principal
    until: float


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What an authenticator asks. `local_keys` are those of this machine (file, GATEWAY_API_KEY), if any."""

    issuers: Issuers
    keys: KeyStore
    uses: KeyUses
    tenants: Tenants
    revocations: Revocations
    local_keys: tuple[str, ...]


class Authenticator:
    """Knows every kind of credential."""

    def __init__(self, settings: AuthSettings, knowledge: Knowledge, now: Callable[[], float] = time.time) -> None:
        self._open = settings.mode is AuthMode.OFF
        self._issuers = knowledge.issuers
        self._keys = knowledge.keys
        self._uses = knowledge.uses
        self._tenants = knowledge.tenants
        self._revocations = knowledge.revocations
        # Who is remembered was found with the keys and the table of that moment.
        self._tenants.on_change(self.forget)
        self._issuers.on_change(self.forget)
        self._revocations.on_change(self._forget_revoked)
        self._local_keys = tuple(key.encode() for key in knowledge.local_keys if key)
        self._now = now
        self._known: dict[bytes, _Known] = {}

    def recall(self, authorization: bytes) -> Caller | None:
        """Return who sent this header before, if that still holds: the hot path, without any I/O."""
        known = self._known.get(authorization)
        if known is not None and known.until > self._now():
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
        return (await self._found(authorization)).caller

    async def principal(self, authorization: bytes | None) -> Principal:
        """Return what the credential says, as it may be handed on. Raises as authenticate does."""
        return ANONYMOUS if self._open else (await self._found(authorization)).principal

    async def _found(self, authorization: bytes | None) -> _Known:
        if authorization is None:
            raise Unauthenticated("No credential. Send `Authorization: Bearer <API key or JWT>`.")
        known = self._known.get(authorization)
        if known is not None and known.until > self._now():
            return known
        credential = _bearer(authorization)
        principal, until = await self._check(credential)
        # No waiting from here on, so that nobody is remembered by what is no longer so.
        if self._revocations.has(principal):
            raise Unauthenticated("The credential has been revoked.")
        known = _Known(self._tenants.table.caller(principal), principal, until)
        # Padded with white space, one good credential would make any number of long headers to remember.
        if len(authorization) == len(_SCHEME) + len(credential):
            self._remember(authorization, known)
        return known

    async def _check(self, credential: str) -> tuple[Principal, float]:
        """Return whom the credential names, and until when that may be remembered."""
        if self._is_local(credential):
            return LOCAL, LOCAL.until
        if credential.count(".") == 2:
            principal = await self._issuers.verify(credential)
            return principal, principal.until
        record = await self._keys.find(credential)
        if record is None:
            raise Unauthenticated("The API key is not valid.")
        now = self._now()
        principal = record.principal()
        if principal.until <= now:
            raise Unauthenticated("The API key has expired.")
        self._uses.note(record.id)
        return principal, min(principal.until, now + _KEY_CACHE_SECONDS)

    def _is_local(self, credential: str) -> bool:
        given = credential.encode("utf-8", "surrogateescape")
        # Every key is compared, whichever matches, so that the time taken says nothing.
        return sum(hmac.compare_digest(given, key) for key in self._local_keys) > 0

    def _remember(self, authorization: bytes, known: _Known) -> None:
        self._known[authorization] = known
        if len(self._known) > _CACHE_ENTRIES:
            del self._known[next(iter(self._known))]

    def _forget_revoked(self) -> None:
        for authorization, known in list(self._known.items()):
            if self._revocations.has(known.principal):
                del self._known[authorization]


def _bearer(authorization: bytes) -> str:
    scheme, _, credential = authorization.decode("utf-8", "surrogateescape").partition(" ")
    credential = credential.strip()
    if scheme.lower() != "bearer" or not credential:
        raise Unauthenticated("The Authorization header must be `Bearer <API key or JWT>`.")
    return credential
