"""The gateway's own tokens: what passes, and everything that must not."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import AuthSettings
from gateway.errors import Unauthenticated
from gateway.identity.issuers import Issuers
from gateway.identity.own_tokens import OwnTokens, own_secret
from gateway.identity.principal import Principal
from tests.unit.gateway.identity.tokens import SECRET, auth, claims, encoded, public_key, tampered, token

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def verify(text: str, **settings: Any) -> Principal:
    """Verify under these settings."""
    return Issuers(auth(**settings), SECRET.encode()).check(text)


@pytest.mark.parametrize(
    ("changed", "principal"),
    [
        ({}, Principal("acme", "ann", frozenset({"chat"}))),
        ({"scope": None}, Principal("acme", "ann")),
        ({"scope": ""}, Principal("acme", "ann")),
        ({"scope": "chat  admin"}, Principal("acme", "ann", frozenset({"chat", "admin"}))),
        ({"tenant": None}, Principal("gemma-gateway", "ann", frozenset({"chat"}))),
        ({"tenant": "Müller GmbH"}, Principal("Müller GmbH", "ann", frozenset({"chat"}))),
        ({"models": []}, Principal("acme", "ann", frozenset({"chat"}), frozenset())),
        ({"models": ["a", "b"]}, Principal("acme", "ann", frozenset({"chat"}), frozenset({"a", "b"}))),
        ({"tier": "gold"}, Principal("acme", "ann", frozenset({"chat"}), tier="gold")),
        ({"aud": ["other", "gemma-gateway"]}, Principal("acme", "ann", frozenset({"chat"}))),
        ({"iat": int(time.time()), "jti": "x", "anything": {"else": 1}}, Principal("acme", "ann", frozenset({"chat"}))),
    ],
)
def test_a_good_token_says_who_calls(changed: dict[str, Any], principal: Principal) -> None:
    assert bare(verify(token(claims(**changed)))) == principal


@pytest.mark.parametrize(("name", "ahead"), [("exp", -5), ("nbf", 5)])
def test_a_small_difference_of_clocks_is_forgiven(name: str, ahead: int) -> None:
    close = token(claims(**{name: int(time.time()) + ahead}))
    assert verify(close).user == "ann"
    with pytest.raises(Unauthenticated):
        verify(close, jwt_leeway_seconds=0)


def test_a_token_holds_until_it_expires_and_the_leeway_is_over() -> None:
    assert verify(token(claims(exp=2_000_000_000))).until == 2_000_000_010
    assert verify(token(claims(exp=2_000_000_000)), jwt_leeway_seconds=0).until == 2_000_000_000


def bare(principal: Principal) -> Principal:
    """Return it without what ends it."""
    return replace(principal, until=float("inf"), since=0.0, marks=(), by_token=False)


GOOD = token()
HEAD, BODY, SIGNATURE = GOOD.split(".")
UNSIGNED = encoded(b'{"alg":"none"}')
NOW = int(time.time())

REFUSED: dict[str, str] = {
    "alg none": token(header={"alg": "none"}),
    "alg none without a signature": UNSIGNED + f".{BODY}.",
    "alg NONE": encoded(b'{"alg":"NONE"}') + f".{BODY}.",
    "no alg": token(header={"typ": "JWT"}),
    "alg is no text": token(header={"alg": ["HS256"]}),
    "HS512": token(header={"alg": "HS512"}, digest="sha512"),
    "HS384": token(header={"alg": "HS384"}, digest="sha384"),
    "RS256 signed with the secret": token(header={"alg": "RS256"}),
    "signed with a public key as the secret": token(secret=public_key()),
    "a key of its own": token(header={"alg": "HS256", "jwk": {"kty": "oct", "k": "AA"}}, secret="\0"),
    "another secret": token(secret="t" * 32),
    "an empty secret": token(secret=""),
    "an unknown critical extension": token(header={"alg": "HS256", "crit": ["exp"]}),
    "tampered": tampered(GOOD, scope="admin"),
    "no signature": f"{HEAD}.{BODY}.",
    "half a signature": f"{HEAD}.{BODY}.{SIGNATURE[:20]}",
    "a signature too long": f"{HEAD}.{BODY}.{SIGNATURE}AAAA",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.{BODY}",
    "five parts, as an encrypted one": f"{GOOD}.{BODY}.{BODY}",
    "empty": "",
    "dots": "..",
    "not base64": "a*b.c*d.e*f",
    "not ascii": f"{HEAD}.é.{SIGNATURE}",
    "not utf-8": f"{HEAD}.\udcff.{SIGNATURE}",
    "header is not json": f"{encoded(b'x')}.{BODY}.{SIGNATURE}",
    "header is a list": token(header=[]),
    "header is not utf-8": token(header=b"\xff"),
    "header nested too deep": f"{encoded(b'[' * 5000)}.{BODY}.{SIGNATURE}",
    "claims nested too deep": token(b"[" * 3500),
    "claims are not json": token(b"x"),
    "claims are a list": token([]),
    "claims are not utf-8": token(b'{"sub": "\xff"}'),
    "too long": token(claims(more="x" * 7000)),
    "expired": token(claims(exp=NOW - 11)),
    "long expired": token(claims(exp=0)),
    "not yet": token(claims(nbf=NOW + 3600)),
    "made in the future": token(claims(iat=NOW + 3600)),
    "without exp": token(claims(exp=None)),
    "exp is a text": token(claims(exp="soon")),
    "exp is true": token(claims(exp=True)),
    "exp is null": token(claims() | {"exp": None}),
    "exp is infinite": token(claims(exp=float("inf"))),
    "exp is not a number": token(claims(exp=float("nan"))),
    "exp is beyond all doubles": token(claims(exp=10**400)),
    "nbf is infinite": token(claims(nbf=float("inf"))),
    "iat is infinite": token(claims(iat=float("inf"))),
    "without iss": token(claims(iss=None)),
    "another iss": token(claims(iss="evil")),
    "iss is a list": token(claims(iss=["gemma-gateway"])),
    "without aud": token(claims(aud=None)),
    "another aud": token(claims(aud="evil")),
    "other auds": token(claims(aud=["evil", "worse"])),
    "aud is a number": token(claims(aud=5)),
    "without sub": token(claims(sub=None)),
    "empty sub": token(claims(sub="")),
    "sub is a number": token(claims(sub=5)),
    "sub is a list": token(claims(sub=["ann"])),
    "sub is half a character": token(claims(sub="\ud800")),
    "jti is half a character": token(claims(jti="\ud800")),
    "scope is half a character": token(claims(scope="chat \ud800")),
    "models hold half a character": token(claims(models=["\ud800"])),
    "via holds half a character": token(claims(via=["key:\ud800"])),
    "sub with a line break": token(claims(sub="ann\nadmin")),
    "empty tenant": token(claims(tenant="")),
    "tenant is null": token(claims() | {"tenant": None}),
    "tenant is a number": token(claims(tenant=5)),
    "tenant with an opening brace": token(claims(tenant="a{b")),
    "tenant with a closing brace": token(claims(tenant="a}b")),
    "tenant with a hash tag": token(claims(tenant="{other}")),
    "tenant is half a character": token(claims(tenant="\ud800")),
    "tenant with a NUL": token(claims(tenant="a\0b")),
    "claims with a name twice": token(b'{"sub":"ann","sub":"root",' + json.dumps(claims()).encode()[1:]),
    "header with a name twice": token(header=b'{"alg":"HS256","alg":"HS256"}'),
    "a nested name twice": token(json.dumps(claims()).encode()[:-1] + b',"a":{"b":1,"b":2}}'),
    "a logout token": token(header={"alg": "HS256", "typ": "logout+jwt"}),
    "typ is a number": token(header={"alg": "HS256", "typ": 5}),
    "kid is a number": token(header={"alg": "HS256", "kid": 5}),
    "padded": f"{GOOD}=",
    "white space within": f"{HEAD}.{BODY} .{SIGNATURE}",
    "a line break at its end": f"{GOOD}\n",
    "standard base64": f"{HEAD}.{BODY}.{'+' * 43}",
    "jti is a number": token(claims(jti=5)),
    "via is a text": token(claims(via="key:key_1")),
    "via is long": token(claims(via=["key:key_1"] * 9)),
    "auth_time is a text": token(claims(auth_time="now")),
    "a user of 300 characters": token(claims(sub="x" * 300)),
    "scope is a list": token(claims(scope=["admin"])),
    "scope is null": token(claims() | {"scope": None}),
    "tier is a number": token(claims(tier=5)),
    "models is a text": token(claims(models="gemma-3n")),
    "models of numbers": token(claims(models=[1])),
    "models is an object": token(claims(models={"gemma-3n": True})),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_token_is_refused(name: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        verify(REFUSED[name])
    assert caught.value.status == 401
    caught.value.message.encode()
    assert SECRET not in caught.value.message


def test_without_a_secret_one_is_derived_from_the_local_key() -> None:
    secret = own_secret(AuthSettings(), "gg_one")
    assert len(secret) == 32
    assert secret == own_secret(AuthSettings(), "gg_one")
    assert secret != own_secret(AuthSettings(), "gg_two")
    assert own_secret(auth(), "gg_one") == SECRET.encode()
    minted, _ = OwnTokens(AuthSettings(), secret).mint(Principal("acme", "ann"))
    assert Issuers(AuthSettings(), secret).check(minted).user == "ann"
    with pytest.raises(Unauthenticated):
        Issuers(AuthSettings(), own_secret(AuthSettings(), "gg_two")).check(minted)


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        verify(text)


@given(st.integers(min_value=0, max_value=len(GOOD) - 1), st.sampled_from("AZaz09-_.=é"))
def test_a_token_with_one_other_character_is_refused_or_means_the_same(at: int, character: str) -> None:
    changed = GOOD[:at] + character + GOOD[at + 1 :]
    try:
        principal = verify(changed)
    except Unauthenticated:
        return
    # The last character of base64 has bits that mean nothing.
    assert principal == verify(GOOD)
    assert at == len(GOOD) - 1 or changed == GOOD


@given(
    st.sampled_from(
        ["exp", "nbf", "iat", "iss", "aud", "sub", "tenant", "scope", "models", "tier", "jti", "via", "auth_time"]
    ),
    JSON,
)
def test_any_value_of_a_claim_is_taken_or_refused(name: str, value: Any) -> None:
    try:
        principal = verify(token(claims() | {name: value}))
    except Unauthenticated:
        return
    assert principal.tenant
    assert principal.user
    assert principal.until > NOW
    f"{principal.tenant}{principal.user}".encode()


ANN = Principal("acme", "ann", frozenset({"b", "a"}), frozenset({"m"}), "gold")


def made(principal: Principal, **settings: Any) -> str:
    """Return a token made for `principal`."""
    return OwnTokens(auth(**settings), SECRET.encode()).mint(principal)[0]


def minted(principal: Principal, **settings: Any) -> Principal:
    """Return what a token made for `principal` says."""
    return verify(made(principal, **settings))


def test_a_minted_token_says_the_same_and_never_more() -> None:
    principal = minted(ANN)
    assert bare(principal) == ANN
    assert 1800 <= principal.until - time.time() <= 1811
    assert jwt.get_unverified_header(made(ANN))["alg"] == "HS256"


def test_a_minted_token_ends_with_what_it_was_made_from() -> None:
    assert 60 <= minted(ANN, jwt_ttl_seconds=60).until - time.time() <= 71
    assert 18 <= minted(replace(ANN, until=time.time() + 20)).until - time.time() <= 20


@pytest.mark.parametrize("left_seconds", [8, 20])
def test_no_number_of_tokens_made_for_tokens_adds_to_their_time(left_seconds: int) -> None:
    until = time.time() + left_seconds
    principal = replace(ANN, until=until)
    for _ in range(4):
        principal = minted(principal)
    assert until - 1 < principal.until <= until


def test_a_minted_token_goes_with_what_it_was_made_from() -> None:
    principal = minted(replace(ANN, since=1234.5, marks=("key:key_1", "sub:corp:ann")))
    assert principal.since == 1234.5
    assert principal.marks[:3] == ("key:key_1", "sub:corp:ann", "sub:built-in:ann")
    assert principal.marks[3].startswith("jti:built-in:")


def test_the_seconds_that_a_token_holds_are_told() -> None:
    tokens = OwnTokens(auth(), SECRET.encode())
    assert tokens.mint(ANN, now=990.7)[1] == 1800
    assert tokens.mint(replace(ANN, until=1000.0), now=900.0)[1] == 90
    assert tokens.mint(replace(ANN, until=1000.0), now=1010.0)[1] == 0


def test_two_minted_tokens_differ() -> None:
    assert made(ANN) != made(ANN)


@pytest.mark.parametrize("settings", [{}, {"jwt_secret": SECRET}])
def test_what_was_made_while_authentication_was_off_does_not_hold_once_it_is_on(settings: dict[str, Any]) -> None:
    on, off = auth(**settings), auth(mode="off", **settings)
    made = OwnTokens(off, own_secret(off, "the local key")).mint(Principal("local", "anonymous"))[0]
    assert Issuers(off, own_secret(off, "the local key")).check(made).user == "anonymous"
    with pytest.raises(Unauthenticated):
        Issuers(on, own_secret(on, "the local key")).check(made)
