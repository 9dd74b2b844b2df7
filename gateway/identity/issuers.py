"""Tokens: every issuer that is believed, each with its own keys and its own algorithms (RFC 8725 §3.1 and §3.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import jwt

from config import AuthSettings
from config.issuers import BUILT_IN, Algorithm
from gateway.errors import IssuerUnavailable, Unauthenticated
from gateway.identity.claims import principal_of, principal_of_own
from gateway.identity.key_ring import KeyRing
from gateway.identity.key_set import Key, secret_key_set
from gateway.identity.key_source import source_of
from gateway.identity.principal import Principal
from gateway.identity.token_text import Claims, UnverifiedToken, read_token

OWN_ALGORITHM = Algorithm.HS256
_BEYOND_PYJWT = (ValueError, OverflowError, RecursionError)
"""What some releases let through for bytes that are not UTF-8, numbers beyond all bounds, and JSON nested too deep."""


class KeyMissing(Exception):
    """The token's key is not in its issuer's set: made up, or newer than the set."""

    def __init__(self, issuer: Issuer) -> None:
        super().__init__()
        self.issuer = issuer


@dataclass(frozen=True, slots=True)
class Issuer:
    """What a token must keep to, and how its claims are read."""

    iss: str
    audiences: tuple[str, ...]
    algorithms: tuple[Algorithm, ...]
    leeway_seconds: float
    ring: KeyRing
    read: Callable[[Claims, float], Principal]

    def check(self, token: UnverifiedToken) -> Principal:
        """Return whom the token names. Raises Unauthenticated; KeyMissing where its key is not known."""
        if token.algorithm not in self.algorithms:
            raise Unauthenticated("The token is signed with an algorithm that its issuer does not use.")
        keys = self.ring.keys.candidates(Algorithm(token.algorithm), token.key_id) if self.ring.keys else []
        if not keys:
            raise KeyMissing(self)
        claims = self._verified(token, keys)
        return self.read(claims, float(claims["exp"]) + self.leeway_seconds)

    def _verified(self, token: UnverifiedToken, keys: list[Key]) -> Claims:
        for key in keys[:-1]:
            try:
                return self._decoded(token, key)
            except jwt.InvalidSignatureError:
                continue
        return self._decoded(token, keys[-1])

    def _decoded(self, token: UnverifiedToken, key: Key) -> Claims:
        claims: Claims = jwt.decode(
            token.text,
            key,
            algorithms=[token.algorithm],
            issuer=self.iss,
            audience=self.audiences,
            leeway=self.leeway_seconds,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return claims


class Issuers:
    """The gateway's own issuer and those of the settings. `own_secret` signs the gateway's own tokens."""

    def __init__(self, settings: AuthSettings, own_secret: bytes) -> None:
        self._on_change: list[Callable[[], None]] = []
        own_keys = KeyRing("", secret_key_set(own_secret, (OWN_ALGORITHM,)), self._changed)
        own = Issuer(
            settings.jwt_issuer,
            (settings.jwt_audience,),
            (OWN_ALGORITHM,),
            settings.jwt_leeway_seconds,
            own_keys,
            principal_of_own,
        )
        self.names = frozenset({BUILT_IN, *(each.name for each in settings.issuers)})
        self._by_iss = {own.iss: own}
        for each in settings.issuers:
            ring = KeyRing(each.name, source_of(each), self._changed)
            self._by_iss[each.issuer] = Issuer(
                each.issuer, each.audiences, each.algorithms, each.leeway_seconds, ring, partial(principal_of, each)
            )

    def on_change(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever an issuer's keys have changed."""
        self._on_change.append(call)

    async def verify(self, text: str) -> Principal:
        """Return whom a token names. Raises Unauthenticated, saying why; IssuerUnavailable where its keys are not here.

        Waits only for a key that is not known, once for all requests and not longer than a small bound.
        """
        try:
            return self.check(text)
        except KeyMissing as missing:
            ring = missing.issuer.ring
        try:
            if await ring.refreshed():
                return self.check(text)
        except KeyMissing:
            pass
        if not ring.current:
            raise IssuerUnavailable("The keys of the token's issuer cannot be had just now.", retry_after_ms=1000)
        raise Unauthenticated("The token is signed with a key that its issuer does not have.")

    def check(self, text: str) -> Principal:
        """As verify, by the keys that are here. Raises KeyMissing where these do not do."""
        token = read_token(text)
        issuer = self._by_iss.get(token.issuer)
        if issuer is None:
            raise Unauthenticated("The token is of an issuer that is not known here.")
        try:
            return issuer.check(token)
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired.") from None
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"The token is not valid: {error}.") from None
        except _BEYOND_PYJWT:
            raise Unauthenticated("The token is not valid.") from None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep every issuer's keys current until exit."""
        async with AsyncExitStack() as rings:
            for issuer in self._by_iss.values():
                await rings.enter_async_context(issuer.ring.running())
            yield

    def _changed(self) -> None:
        for call in self._on_change:
            call()
