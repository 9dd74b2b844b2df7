"""Tokens made by hand, good and bad."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from config import AuthSettings
from gateway.identity.authenticator import Authenticator, Knowledge
from gateway.identity.issuers import Issuers
from gateway.identity.key_uses import KeyUses
from gateway.identity.keys import KeyStore
from gateway.identity.revocations import Revocations
from gateway.identity.tenants_watch import Tenants
from gateway.store import Store

SECRET = "s" * 32


def auth(**settings: Any) -> AuthSettings:
    """Return settings that take tokens signed with SECRET."""
    return AuthSettings(**{"jwt_secret": SecretStr(SECRET), **settings})


def authenticator_of(
    store: Store,
    local_keys: tuple[str, ...] = (),
    tenants: Tenants | None = None,
    now: Callable[[], float] = time.time,
    revocations: Revocations | None = None,
    uses: KeyUses | None = None,
    **settings: Any,
) -> Authenticator:
    """Return an authenticator that takes tokens signed with SECRET, keys in `store` and these local keys."""
    chosen = auth(**settings)
    keys = KeyStore(store)
    knowledge = Knowledge(
        Issuers(chosen, SECRET.encode()),
        keys,
        uses or KeyUses(keys),
        tenants or Tenants(),
        revocations or Revocations(store),
        local_keys,
    )
    return Authenticator(chosen, knowledge, now)


def claims(**changed: Any) -> dict[str, Any]:
    """Return good claims; a None takes one out."""
    good = {
        "iss": "gemma-gateway",
        "aud": "gemma-gateway",
        "sub": "ann",
        "tenant": "acme",
        "scope": "chat",
        "exp": int(time.time()) + 3600,
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def encoded(value: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def token(body: Any = None, header: Any = None, secret: str = SECRET, digest: str = "sha256") -> str:
    """Return a token; bytes go in as they are, all else as JSON."""
    parts = [{"alg": "HS256", "typ": "JWT"} if header is None else header, claims() if body is None else body]
    texts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
    signed = ".".join(map(encoded, texts))
    return f"{signed}.{encoded(hmac.new(secret.encode(), signed.encode(), digest).digest())}"


def tampered(good: str, **changed: Any) -> str:
    """Return the token with other claims under the old signature."""
    head, _, signature = good.split(".")
    return f"{head}.{encoded(json.dumps(claims(**changed)).encode())}.{signature}"


def public_key() -> str:
    """Return something that looks like the public key of an RS256 issuer."""
    body = base64.encodebytes(hashlib.sha512(b"key").digest() * 4).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----\n"
