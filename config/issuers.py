"""Issuers of tokens beside the gateway's own (`auth.issuers`): what is known of each, and what cannot be right."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from config.fields import Group, Names, Seconds, Words

BUILT_IN = "built-in"
"""What the gateway's own issuer is called, where issuers are told apart by name."""
_TAKEN_NAMES = frozenset({BUILT_IN, "local"})


class Algorithm(StrEnum):
    """How a token may be signed: RFC 7518 §3.1 and RFC 8037, without `none`."""

    HS256 = "HS256"
    HS384 = "HS384"
    HS512 = "HS512"
    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"

    @property
    def symmetric(self) -> bool:
        """Whether who can verify can also sign."""
        return self.startswith("HS")


Algorithms = Annotated[tuple[Algorithm, ...], Field(min_length=1)]


class ClaimNames(Group):
    """Which claim says what; a path into a nested claim has dots. An empty name: the token does not say it."""

    user: str = "sub"
    tenant: str = ""
    tier: str = ""
    models: str = ""
    scopes: str = "scope"


class IssuerSettings(Group):
    """One issuer. `name` stands before its users and tenants here, so that two issuers' can never be taken for one."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    issuer: Annotated[str, Field(min_length=1)]
    audiences: Annotated[Words, Field(min_length=1)]
    algorithms: Algorithms
    secret: SecretStr = SecretStr("")
    secret_file: str = ""
    pem_file: str = ""
    jwks_file: str = ""
    jwks_url: str = ""
    discovery: bool = False
    claims: ClaimNames = Field(default_factory=ClaimNames)
    scopes: Names = Field(default_factory=dict)
    shared_tenants: Words = ()
    leeway_seconds: float = Field(10.0, ge=0, le=300)
    refresh_seconds: Seconds = 300.0

    @property
    def symmetric(self) -> bool:
        """Whether the key is a secret."""
        return bool(self.secret.get_secret_value() or self.secret_file)

    @property
    def discovery_url(self) -> str:
        """Where OpenID Connect Discovery 1.0 §4 says that an issuer describes itself."""
        return f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"


def problems_of_issuers(issuers: tuple[IssuerSettings, ...], own_issuer: str) -> Iterator[str]:
    """Yield one sentence for each thing that is wrong, with the issuer's name and never with a secret."""
    for issuer in issuers:
        for sentence in (*_problems_of_keys(issuer), *_problems_of_names(issuer)):
            yield f"{issuer.name}: {sentence}"
    for what, values in (
        ("name", [issuer.name for issuer in issuers]),
        ("issuer", [own_issuer, *(issuer.issuer for issuer in issuers)]),
    ):
        for twice in sorted({value for value in values if values.count(value) > 1}):
            yield f"two have the {what} '{twice}'"


def _problems_of_keys(issuer: IssuerSettings) -> Iterator[str]:
    sources = (issuer.secret.get_secret_value(), issuer.secret_file, issuer.pem_file, issuer.jwks_file, issuer.jwks_url)
    if sum(map(bool, (*sources, issuer.discovery))) != 1:
        yield "needs exactly one of secret, secret_file, pem_file, jwks_file, jwks_url and discovery"
    wrong = [name.value for name in issuer.algorithms if name.symmetric is not issuer.symmetric]
    if wrong:
        # RFC 8725 §3.1: a public key must never be taken for a secret.
        kind = "a secret" if issuer.symmetric else "public keys"
        yield f"{', '.join(wrong)} cannot be used with {kind}"
    secret = issuer.secret.get_secret_value()
    if secret and len(secret.encode()) < least_secret_bytes(issuer.algorithms):
        yield f"secret: must have at least {least_secret_bytes(issuer.algorithms)} bytes for its algorithms"
    url = issuer.jwks_url or (issuer.discovery_url if issuer.discovery else "")
    if url and not is_safe_url(url):
        yield f"'{url}' must be https:// (http:// only on a loopback address)"


def _problems_of_names(issuer: IssuerSettings) -> Iterator[str]:
    if issuer.name in _TAKEN_NAMES:
        yield "this name is taken"
    if not issuer.claims.user:
        yield "claims.user: must not be empty"
    if issuer.shared_tenants and not issuer.claims.tenant:
        yield "shared_tenants: needs claims.tenant"
    if any(set(tenant) & set("{}") for tenant in issuer.shared_tenants):
        yield "shared_tenants: must not hold braces"


def least_secret_bytes(algorithms: tuple[Algorithm, ...]) -> int:
    """Return the length of a secret that RFC 7518 §3.2 asks for: that of the longest digest."""
    return max((int(name.removeprefix("HS")) // 8 for name in algorithms if name.symmetric), default=1)


def is_safe_url(url: str) -> bool:
    """Whether keys from there can be believed: over TLS, or from this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            return bool(host)
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
