"""Which keys of a set are used, and for what."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from jwt.algorithms import get_default_algorithms

from config.issuers import Algorithm
from gateway.identity.key_set import KeySetError, jwk_key_set, pem_key_set, secret_key_set
from tests.fakes.token_issuer import new_key, public_jwk, public_pem

RSA, EC, ED = (new_key(name) for name in ("RS256", "ES256", "EdDSA"))
SMALL = rsa.generate_private_key(65537, 1024)
RSA_NAMES = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


def jwks(*keys: Any) -> bytes:
    """Return a key set as text."""
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (public_jwk(RSA, "RS256"), RSA_NAMES),
        (public_jwk(RSA, "RS256", alg="PS384"), {"PS384"}),
        (public_jwk(RSA, "RS256", key_ops=["verify"]), RSA_NAMES),
        (public_jwk(EC, "ES256"), {"ES256"}),
        (public_jwk(ED, "EdDSA"), {"EdDSA"}),
    ],
)
def test_a_key_is_used_with_the_algorithms_of_its_kind(jwk: dict[str, Any], algorithms: set[str]) -> None:
    (key,) = jwk_key_set(jwks(jwk)).keys
    assert key.algorithms == algorithms


PASSED_OVER: dict[str, Any] = {
    "no object": "key",
    "a secret": {"kty": "oct", "k": "AAAA", "kid": "a"},
    "a private key": get_default_algorithms()["RS256"].to_jwk(RSA, as_dict=True),
    "for encryption": public_jwk(RSA, "RS256", use="enc"),
    "for signing only": public_jwk(RSA, "RS256", key_ops=["sign"]),
    "of an algorithm of another kind": public_jwk(RSA, "RS256", alg="ES256"),
    "of no algorithm of ours": public_jwk(RSA, "RS256", alg="RSA-OAEP"),
    "1024 bits": public_jwk(SMALL, "RS256"),
    "a curve that is not used": public_jwk(ec.generate_private_key(ec.SECP256K1()), "ES256K"),
    "Ed448": public_jwk(new_key("Ed448"), "EdDSA"),
    "of an unknown kind": {"kty": "quantum"},
    "broken": {"kty": "RSA", "n": "A", "e": "***"},
    "a point off its curve": {**public_jwk(EC, "ES256"), "x": "AAAA"},
    "a kid that is a number": public_jwk(RSA, "RS256", kid=5),
}


@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_cannot_be_used_is_passed_over(name: str) -> None:
    assert [key.id for key in jwk_key_set(jwks(PASSED_OVER[name], public_jwk(RSA, "RS256", "good"))).keys] == ["good"]
    with pytest.raises(KeySetError, match="no key that can be used"):
        jwk_key_set(jwks(PASSED_OVER[name]))


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"keys": 5}', b'{"keys": []}', b"<html>", b"\xff", b"[" * 9999])
def test_what_is_no_set_is_refused(text: bytes) -> None:
    with pytest.raises(KeySetError):
        jwk_key_set(text)


def test_keys_are_chosen_by_algorithm_and_id() -> None:
    rsa_jwk, ec_jwk = public_jwk(RSA, "RS256", "a"), public_jwk(EC, "ES256", "b")
    keys = jwk_key_set(jwks(rsa_jwk, ec_jwk))
    assert len(keys.candidates(Algorithm.RS256, "a")) == len(keys.candidates(Algorithm.RS256, None)) == 1
    assert keys.candidates(Algorithm.RS256, "b") == keys.candidates(Algorithm.HS256, None) == []
    assert keys.candidates(Algorithm.RS256, "c") == []


def test_a_set_is_not_endless() -> None:
    many = jwk_key_set(jwks(*(public_jwk(EC, "ES256", str(number)) for number in range(300))))
    assert len(many.keys) == 100
    assert len(many.candidates(Algorithm.ES256, None)) == 8


def certificate() -> bytes:
    """Return a certificate of RSA's key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, RSA.public_key(), 1, day, day + datetime.timedelta(9999))
    return builder.sign(RSA, SHA256()).public_bytes(Encoding.PEM)


def test_a_pem_file_holds_a_public_key_or_a_certificate() -> None:
    for text in (public_pem(RSA), certificate()):
        assert pem_key_set(text).keys[0].algorithms == RSA_NAMES


@pytest.mark.parametrize(
    "text", [b"", b"key", public_pem(SMALL), public_pem(dsa.generate_private_key(2048)), b"-----BEGIN CERTIFICATE-----"]
)
def test_other_pem_files_are_refused(text: bytes) -> None:
    with pytest.raises(KeySetError):
        pem_key_set(text)


def test_a_secret_has_the_length_of_its_digest() -> None:
    assert secret_key_set(b"s" * 47 + b"\n", (Algorithm.HS384,)).keys[0].key == b"s" * 47 + b"\n"
    with pytest.raises(KeySetError, match="at least 48 bytes"):
        secret_key_set(b"s" * 47, (Algorithm.HS384,))
