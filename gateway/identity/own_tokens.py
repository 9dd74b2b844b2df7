"""The gateway's own tokens: the secret that signs them, and how one is made."""

from __future__ import annotations

import time
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from config import AuthSettings
from config.schema import AuthMode
from gateway.identity.issuers import OWN_ALGORITHM
from gateway.identity.principal import Principal

_PURPOSE = b"gemma-gateway tokens"
_PURPOSE_WHILE_OFF = b"gemma-gateway tokens made without authentication"
_SECRET_BYTES = 32


def own_secret(settings: AuthSettings, local_key: str) -> bytes:
    """Return `auth.jwt_secret`, else one derived from the local key (RFC 5869), which is 256 random bits."""
    given = settings.jwt_secret.get_secret_value()
    if settings.mode is AuthMode.OFF:
        # What anybody may have made must not hold once credentials are asked for.
        return _derived(given or local_key, _PURPOSE_WHILE_OFF)
    return given.encode() if given else _derived(local_key, _PURPOSE)


def _derived(secret: str, purpose: bytes) -> bytes:
    return HKDF(SHA256(), _SECRET_BYTES, salt=None, info=purpose).derive(secret.encode())


class OwnTokens:
    """Makes the gateway's own tokens."""

    def __init__(self, settings: AuthSettings, secret: bytes) -> None:
        self._settings = settings
        self._secret = secret

    def mint(self, principal: Principal, now: float | None = None) -> tuple[str, int]:
        """Return a token that says what `principal` is and never more, and the seconds for which it holds.

        That is `auth.jwt_ttl_seconds` from now, or until the principal's own end: a token holds for the leeway beyond
        its `exp`, which is taken off, or token after token would add to it. The token tells what it was made by, and so
        ends with that when it is revoked.
        """
        now = time.time() if now is None else now
        expires_at = int(min(now + self._settings.jwt_ttl_seconds, principal.until - self._settings.jwt_leeway_seconds))
        claims: dict[str, Any] = {
            "iss": self._settings.jwt_issuer,
            "aud": self._settings.jwt_audience,
            "sub": principal.user,
            "tenant": principal.tenant,
            "scope": " ".join(sorted(principal.scopes)),
            "iat": int(now),
            "auth_time": principal.since or now,
            "exp": expires_at,
            "jti": uuid.uuid4().hex,
        }
        if principal.models is not None:
            claims["models"] = sorted(principal.models)
        if principal.tier is not None:
            claims["tier"] = principal.tier
        if principal.marks:
            claims["via"] = list(principal.marks)
        return jwt.encode(claims, self._secret, algorithm=OWN_ALGORITHM), max(0, expires_at - int(now))
