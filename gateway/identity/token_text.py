"""A token as text, taken apart and found well-formed before any key is tried: RFC 7515 §5.2, RFC 8725. Pure."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any

from gateway.errors import Unauthenticated

MAX_TOKEN_BYTES = 8192
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES = frozenset({"jwt", "at+jwt"})
"""Access tokens and plain ones. A logout token or a proof of possession is not a credential: RFC 8725 §3.11."""

Claims = dict[str, Any]


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token claims of itself. Nothing of it may be believed yet: it only says which key to try."""

    text: str
    algorithm: str
    key_id: str | None
    issuer: str


def read_token(text: str) -> UnverifiedToken:
    """Return the token's own words. Raises Unauthenticated where it is not well-formed, saying how."""
    if len(text) > MAX_TOKEN_BYTES:
        raise Unauthenticated("The token is too long.")
    if not _COMPACT.fullmatch(text):
        raise Unauthenticated("The token is not a signed JWT in compact form.")
    head, body, _ = text.split(".")
    header, claims = _object(head, "header"), _object(body, "claims")
    algorithm, key_id, issuer = header.get("alg"), header.get("kid"), claims.get("iss")
    if not isinstance(algorithm, str) or not isinstance(key_id, str | None):
        raise Unauthenticated("The token's alg or kid is not a text.")
    if "crit" in header:
        raise Unauthenticated("The token has a critical extension that is not understood.")
    if not _is_type_of_ours(header.get("typ", "JWT")):
        raise Unauthenticated("The token's typ is not that of an access token.")
    if not isinstance(issuer, str):
        raise Unauthenticated("The token has no iss.")
    return UnverifiedToken(text, algorithm, key_id, issuer)


def _is_type_of_ours(kind: object) -> bool:
    return isinstance(kind, str) and kind.lower().removeprefix("application/") in _TYPES


def _object(part: str, name: str) -> Claims:
    """Return a JSON object in which no name stands twice: readers differ in which of the two they believe."""
    try:
        found = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise Unauthenticated(f"The token's {name} cannot be read.") from None
    if not isinstance(found, dict):
        raise Unauthenticated(f"The token's {name} is not an object.")
    return found


def _once(pairs: list[tuple[str, Any]]) -> Claims:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found
