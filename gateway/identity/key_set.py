"""The keys an issuer's tokens may be signed with, from a secret, a PEM file or a JWK set (RFC 7517). Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from config.issuers import Algorithm, least_secret_bytes

_LEAST_RSA_BITS = 2048
"""RFC 7518 §3.3."""
_MAX_KEYS = 100
_MAX_TRIES = 8
_BY_CURVE = {"secp256r1": Algorithm.ES256, "secp384r1": Algorithm.ES384, "secp521r1": Algorithm.ES512}
_RSA = frozenset(name for name in Algorithm if name[:2] in ("RS", "PS"))
_HMAC = frozenset(name for name in Algorithm if name.symmetric)
_PRIVATE_MEMBERS = frozenset({"d", "k", "p", "q"})

Key = bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class KeySetError(Exception):
    """There is no key to be had from this. The message is a sentence for the operator and holds no key."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One key, and the algorithms it can be used with: never another kind's, whatever a token says."""

    id: str | None
    algorithms: frozenset[Algorithm]
    key: Key


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's keys."""

    keys: tuple[VerifyingKey, ...]

    def candidates(self, algorithm: Algorithm, key_id: str | None) -> list[Key]:
        """Return the keys that a token of this algorithm and `kid` may be signed with, a few at most."""
        fitting = [
            each.key
            for each in self.keys
            if algorithm in each.algorithms and (key_id is None or each.id is None or each.id == key_id)
        ]
        return fitting[:_MAX_TRIES]


def secret_key_set(secret: bytes, algorithms: tuple[Algorithm, ...]) -> KeySet:
    """Return the set of one secret. Raises KeySetError for one that is too short."""
    least = least_secret_bytes(algorithms)
    if len(secret) < least:
        raise KeySetError(f"the secret must have at least {least} bytes")
    return KeySet((VerifyingKey(None, _HMAC, secret),))


def pem_key_set(text: bytes) -> KeySet:
    """Return the set of one public key, plain or in a certificate. Raises KeySetError."""
    try:
        if b"BEGIN CERTIFICATE" in text:
            key: Any = x509.load_pem_x509_certificate(text).public_key()
        else:
            key = load_pem_public_key(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeySetError("it holds no public key or certificate in PEM form") from None
    return KeySet((VerifyingKey(None, _algorithms_of(key), key),))


def jwk_key_set(text: bytes) -> KeySet:
    """Return the usable keys of a JWK set. Others in it are passed over. Raises KeySetError where there is none."""
    try:
        entries = json.loads(text)["keys"]
        if not isinstance(entries, list):
            raise TypeError
    except (ValueError, LookupError, TypeError, RecursionError):
        raise KeySetError("it is not a JWK set") from None
    keys = [key for key in map(_jwk, entries[:_MAX_KEYS]) if key is not None]
    if not keys:
        raise KeySetError("the JWK set has no key that can be used")
    return KeySet(tuple(keys))


def _jwk(entry: object) -> VerifyingKey | None:
    """Return a public key for signatures, None for any other. A secret in a set that is public would be none."""
    if not isinstance(entry, dict) or _PRIVATE_MEMBERS & entry.keys() or entry.get("use", "sig") != "sig":
        return None
    operations, key_id = entry.get("key_ops", ["verify"]), entry.get("kid")
    if not isinstance(operations, list) or "verify" not in operations or not isinstance(key_id, str | None):
        return None
    try:
        key: Any = jwt.PyJWK(entry).key
        algorithms = _algorithms_of(key)
    except (jwt.PyJWTError, KeySetError, ValueError, TypeError, LookupError, UnsupportedAlgorithm):
        return None
    if "alg" in entry:
        algorithms &= frozenset(name for name in Algorithm if name == entry["alg"])
    return VerifyingKey(key_id, algorithms, key) if algorithms else None


def _algorithms_of(key: object) -> frozenset[Algorithm]:
    if isinstance(key, RSAPublicKey):
        if key.key_size < _LEAST_RSA_BITS:
            raise KeySetError(f"an RSA key must have at least {_LEAST_RSA_BITS} bits")
        return _RSA
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _BY_CURVE:
        return frozenset({_BY_CURVE[key.curve.name]})
    if isinstance(key, Ed25519PublicKey):
        return frozenset({Algorithm.EDDSA})
    raise KeySetError("the key is of a kind that no algorithm here uses")
