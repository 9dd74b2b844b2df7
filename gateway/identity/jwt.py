"""JSON Web Tokens, HS256: RFC 7519, with the algorithm pinned as RFC 8725 §3.1 asks."""

from __future__ import annotations

import time
import uuid
from typing import Any

import jwt

from config import AuthSettings
from gateway.errors import Unauthenticated
from gateway.identity.principal import Principal

_ALGORITHM = "HS256"
_MAX_TOKEN_BYTES = 8192
_BEYOND_PYJWT = (ValueError, OverflowError, RecursionError)
"""What some releases let through for bytes that are not UTF-8, numbers beyond all bounds, and JSON nested too deep."""


class JwtVerifier:
    """Verifies tokens of one issuer: `sub` is the user, `tenant` (else the issuer), `scope`, `models`, `tier`."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._secret = settings.jwt_secret.get_secret_value()

    @property
    def enabled(self) -> bool:
        """Whether a secret is set at all."""
        return bool(self._secret)

    def verify(self, token: str) -> Principal:
        """Return what the token says. Raises Unauthenticated, saying why it does not hold."""
        if len(token) > _MAX_TOKEN_BYTES:
            raise Unauthenticated("The token is too long.")
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                issuer=self._settings.jwt_issuer,
                audience=self._settings.jwt_audience,
                leeway=self._settings.jwt_leeway_seconds,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            until = float(claims["exp"]) + self._settings.jwt_leeway_seconds
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired.") from None
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"The token is not valid: {error}.") from None
        except _BEYOND_PYJWT:
            raise Unauthenticated("The token is not valid.") from None
        return _principal(claims, until)


def mint(
    settings: AuthSettings, user: str, tenant: str, scopes: frozenset[str], ttl_seconds: float | None = None
) -> str:
    """Return a signed token for `user`, valid from now for `ttl_seconds` (the setting's lifetime when None)."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": user,
        "tenant": tenant,
        "scope": " ".join(sorted(scopes)),
        "iat": now,
        "exp": now + int(ttl_seconds or settings.jwt_ttl_seconds),
        "jti": uuid.uuid4().hex,
    }
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm=_ALGORITHM)


def _principal(claims: dict[str, Any], until: float) -> Principal:
    user, tenant, scope = claims["sub"], claims.get("tenant", claims["iss"]), claims.get("scope", "")
    models = claims.get("models")
    if not (isinstance(user, str) and user and isinstance(tenant, str) and tenant and isinstance(scope, str)):
        raise Unauthenticated("The token's sub, tenant or scope is not a text.")
    if not (user.isprintable() and tenant.isprintable()):
        raise Unauthenticated("The token's sub or tenant holds a character that cannot be printed.")
    if "{" in tenant or "}" in tenant:
        # The tenant becomes the hash tag of its Redis keys, which braces would move.
        raise Unauthenticated("The token's tenant may not hold braces.")
    if models is not None and not (isinstance(models, list) and all(isinstance(name, str) for name in models)):
        raise Unauthenticated("The token's models is not a list of names.")
    if not isinstance(tier := claims.get("tier"), str | None):
        raise Unauthenticated("The token's tier is not a text.")
    return Principal(tenant, user, frozenset(scope.split()), None if models is None else frozenset(models), tier, until)
