"""Tokens of other issuers: for each algorithm those that pass, and everything that must not."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from config import AuthSettings
from config.issuers import Algorithm, IssuerSettings
from gateway.errors import Unauthenticated
from gateway.identity.issuers import Issuers, KeyMissing
from tests.fakes.token_issuer import new_key, public_jwk, public_pem
from tests.unit.gateway.identity.tokens import encoded

ISS = "https://id.example.org"
NOW = int(time.time())
SECRET = b"t" * 64
KEYS = {name: new_key(name) for name in ("RS256", "ES256", "ES384", "ES512", "EdDSA")}
KEYS |= dict.fromkeys(("RS384", "RS512", "PS256", "PS384", "PS512"), KEYS["RS256"])
OTHERS = {name: new_key(name) for name in ("RS256", "ES256", "EdDSA")}
PUBLIC = [name for name in Algorithm if not name.symmetric]


def claims(**changed: Any) -> dict[str, Any]:
    """Return good claims; a None takes one out."""
    good = {"iss": ISS, "aud": "gateway", "sub": "ann", "exp": NOW + 3600, "iat": NOW, "jti": "t1"}
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def key_of(algorithm: str) -> Any:
    """Return what this algorithm signs with here."""
    return SECRET if algorithm.startswith("HS") else KEYS[algorithm]


def sign(algorithm: str = "RS256", key: Any = None, header: Any = None, **changed: Any) -> str:
    """Return a token."""
    return jwt.encode(claims(**changed), key or key_of(algorithm), algorithm, headers=header)


def raw(header: Any, body: Any = None, signature: bytes = b"x" * 256) -> str:
    """Return a token of these parts."""
    return (
        f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(body or claims()).encode())}.{encoded(signature)}"
    )


def issuers(folder: Path, algorithms: list[str], **settings: Any) -> Issuers:
    """Return issuers with one of them, whose keys are in a file unless the settings say otherwise."""
    given: dict[str, Any] = {"name": "corp", "issuer": ISS, "audiences": ["gateway"], "algorithms": algorithms}
    return Issuers(AuthSettings(issuers=(IssuerSettings(**given, **settings),)), b"o" * 32)


async def check(given: Issuers, text: str) -> Any:
    """Verify with the keys fetched."""
    async with given.running():
        return given.check(text)


@pytest.fixture
def jwks(tmp_path: Path) -> Callable[..., str]:
    """Write key sets: `jwks(RS256=…)` with the algorithm's name as the key's id."""

    def write(**members: Any) -> str:
        keys = [public_jwk(KEYS[name], name, name, alg=name, use="sig", **members) for name in PUBLIC]
        path = tmp_path / "keys.json"
        path.write_text(json.dumps({"keys": [*keys, {"kty": "oct", "kid": "secret", "k": encoded(SECRET)}]}))
        return str(path)

    return write


@pytest.mark.parametrize("algorithm", PUBLIC)
async def test_a_token_signed_with_a_key_of_the_set_passes(
    algorithm: str, jwks: Callable[..., str], tmp_path: Path
) -> None:
    given = issuers(tmp_path, [algorithm], jwks_file=jwks())
    principal = await check(given, sign(algorithm, header={"kid": algorithm}))
    assert (principal.tenant, principal.user, principal.scopes) == ("corp", "corp:ann", frozenset())
    assert principal.marks == ("sub:corp:ann", "jti:corp:t1")


@pytest.mark.parametrize("algorithm", PUBLIC)
async def test_a_token_signed_with_the_key_of_a_pem_file_passes(algorithm: str, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(KEYS[algorithm]))
    given = issuers(tmp_path, [algorithm], pem_file=str(path))
    assert (await check(given, sign(algorithm))).user == "corp:ann"
    assert (await check(given, sign(algorithm, header={"kid": "any"}))).user == "corp:ann"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_token_signed_with_the_secret_passes(algorithm: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    for settings in ({"secret": SECRET.decode()}, {"secret_file": str(path)}):
        assert (await check(issuers(tmp_path, [algorithm], **settings), sign(algorithm))).user == "corp:ann"


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+JWT"])
async def test_the_types_of_access_tokens_pass(typ: str, jwks: Callable[..., str], tmp_path: Path) -> None:
    given = issuers(tmp_path, ["RS256"], jwks_file=jwks())
    assert (await check(given, sign(header={"kid": "RS256", "typ": typ}))).user == "corp:ann"


async def test_of_several_audiences_one_must_be_named(jwks: Callable[..., str], tmp_path: Path) -> None:
    given = issuers(tmp_path, ["RS256"], jwks_file=jwks())
    head = {"kid": "RS256"}
    assert (await check(given, sign(header=head, aud=["other", "gateway"]))).user == "corp:ann"


def confused(pem: bytes, algorithm: str = "HS256") -> str:
    """Return a token whose secret is the issuer's public key: the confusion that pinned algorithms end."""
    signed = (
        f"{encoded(json.dumps({'alg': algorithm, 'kid': 'RS256'}).encode())}.{encoded(json.dumps(claims()).encode())}"
    )
    return f"{signed}.{encoded(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"


def signed_as_it_is(body: bytes) -> str:
    """Return a token with this text for claims, under a good signature."""
    return jwt.PyJWS().encode(body, KEYS["RS256"], "RS256", headers={"kid": "RS256"})


GOOD = sign(header={"kid": "RS256"})
HEAD, BODY, SIGNATURE = GOOD.split(".")
KID = {"kid": "RS256"}

REFUSED: dict[str, str] = {
    "alg none": raw({"alg": "none", "kid": "RS256"}),
    "alg none, nothing signed": encoded(b'{"alg":"none"}') + f".{BODY}.",
    "alg nOnE": raw({"alg": "nOnE", "kid": "RS256"}),
    "a public key as an HS256 secret": confused(public_pem(KEYS["RS256"])),
    "a public key's JWK as an HS256 secret": confused(json.dumps(public_jwk(KEYS["RS256"], "RS256")).encode()),
    "HS256 with a secret of the set": sign("HS256", header={"kid": "secret"}),
    "RS512 where only RS256 is used": sign("RS512", header=KID),
    "PS256 with the same RSA key": sign("PS256", header=KID),
    "ES256, a key of the set that another algorithm is for": sign("ES256", header={"kid": "ES256"}),
    "another key under a known kid": sign(key=OTHERS["RS256"], header=KID),
    "an elliptic key under a known kid": sign("ES256", key=OTHERS["ES256"], header=KID),
    "its own key in the header": sign(
        key=OTHERS["RS256"], header={"kid": "RS256", "jwk": public_jwk(OTHERS["RS256"], "RS256")}
    ),
    "a key at an address of its own": sign(key=OTHERS["RS256"], header={"kid": "RS256", "jku": "https://evil/keys"}),
    "a critical extension": sign(header={"kid": "RS256", "crit": ["b64"], "b64": False}),
    "kid is a path": sign(header={"kid": "../../RS256"}),
    "kid is empty": sign(header={"kid": ""}),
    "a proof of possession": sign(header={"kid": "RS256", "typ": "dpop+jwt"}),
    "a logout token": sign(header={"kid": "RS256", "typ": "logout+jwt"}),
    "tampered claims": f"{HEAD}.{encoded(json.dumps(claims(sub='root')).encode())}.{SIGNATURE}",
    "tampered header": f"{encoded(json.dumps({'alg': 'RS256', 'kid': 'RS256', 'a': 1}).encode())}.{BODY}.{SIGNATURE}",
    "no signature": f"{HEAD}.{BODY}.",
    "half a signature": f"{HEAD}.{BODY}.{SIGNATURE[:100]}",
    "a signature of zeroes": f"{HEAD}.{BODY}.{encoded(bytes(256))}",
    "a claim twice": signed_as_it_is(json.dumps(claims()).encode()[:-1] + b',"sub":"root"}'),
    "too long": sign(header=KID, more="x" * 8000),
    "another audience": sign(header=KID, aud="other"),
    "the audience of the gateway's own tokens": sign(header=KID, aud="gemma-gateway"),
    "no audience": sign(header=KID, aud=None),
    "another issuer": sign(header=KID, iss="https://evil.example.org"),
    "an issuer with a slash more": sign(header=KID, iss=ISS + "/"),
    "the gateway's own issuer": sign(header=KID, iss="gemma-gateway"),
    "no issuer": sign(header=KID, iss=None),
    "expired beyond the leeway": sign(header=KID, exp=NOW - 30),
    "without exp": sign(header=KID, exp=None),
    "not yet, beyond the leeway": sign(header=KID, nbf=NOW + 86_400),
    "made in the future": sign(header=KID, iat=NOW + 86_400),
    "no subject": sign(header=KID, sub=None),
    "an empty subject": sign(header=KID, sub=""),
    "a subject with a line break": sign(header=KID, sub="ann\nroot"),
    "five parts": f"{GOOD}.{BODY}.{BODY}",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_bad_token_is_refused(name: str, jwks: Callable[..., str], tmp_path: Path) -> None:
    given = issuers(tmp_path, ["RS256"], jwks_file=jwks())
    assert (await check(given, GOOD)).user == "corp:ann"
    with pytest.raises((Unauthenticated, KeyMissing)):
        await check(given, REFUSED[name])
    async with given.running():
        with pytest.raises(Unauthenticated) as caught:
            await given.verify(REFUSED[name])
    assert caught.value.status == 401


async def test_the_own_issuer_does_not_take_others_algorithms_nor_they_its_secret(
    jwks: Callable[..., str], tmp_path: Path
) -> None:
    given = issuers(tmp_path, ["RS256"], jwks_file=jwks())
    own = {"iss": "gemma-gateway", "aud": "gemma-gateway"}
    assert (await check(given, sign("HS256", key=b"o" * 32, **own))).user == "ann"
    for text in (sign(header=KID, **own), sign("HS256", key=b"o" * 32), sign("HS256", key=SECRET, **own)):
        with pytest.raises(Unauthenticated):
            await check(given, text)


async def test_a_token_without_a_kid_passes_by_any_key_of_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = [OTHERS["RS256"], KEYS["ES256"], KEYS["RS256"]]
    path.write_text(json.dumps({"keys": [public_jwk(key, name, str(key)) for key, name in zip(
        keys, ["RS256", "ES256", "RS256"], strict=True)]}))  # fmt: skip
    given = issuers(tmp_path, ["RS256"], jwks_file=str(path))
    assert (await check(given, sign())).user == "corp:ann"
    with pytest.raises(Unauthenticated):
        await check(given, sign(key=new_key("RS256")))
