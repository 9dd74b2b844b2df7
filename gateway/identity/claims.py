"""Verified claims → a Principal, by the names that the settings give them. Pure."""

from __future__ import annotations

from typing import Any

from config.issuers import BUILT_IN, IssuerSettings
from gateway.errors import Unauthenticated
from gateway.identity.principal import Principal, mark_of_subject, mark_of_token
from gateway.identity.token_text import Claims

_MAX_NAME = 256
MAX_MARKS = 8
"""How many steps of a token made for one made for another can be told, and so how many there may be."""


def principal_of(issuer: IssuerSettings, claims: Claims, until: float) -> Principal:
    """Return whom a token of another issuer names. Raises Unauthenticated where a claim does not say what it must.

    The user and, unless the settings share it, the tenant begin with the issuer's name and a colon, which no name of an
    issuer holds: equal subjects of two issuers are never one user, and no issuer can name another's tenant.
    """
    names = issuer.claims
    user = _name(_at(claims, names.user), names.user)
    granted = (issuer.scopes.get(scope) for scope in _words(_at(claims, names.scopes), names.scopes))
    models, tier = _at(claims, names.models), _at(claims, names.tier)
    return Principal(
        tenant=_tenant(issuer, claims),
        user=f"{issuer.name}:{user}",
        scopes=frozenset(scope for scope in granted if scope is not None),
        models=None if models is None else frozenset(_words(models, names.models)),
        tier=None if tier is None else _name(tier, names.tier),
        until=until,
        since=_since(claims, "iat"),
        marks=_marks(issuer.name, claims),
        by_token=True,
    )


def principal_of_own(claims: Claims, until: float) -> Principal:
    """Return whom a token of the gateway's own issuer names, as it says it. Raises Unauthenticated."""
    scope, models, tier = claims.get("scope", ""), claims.get("models"), claims.get("tier")
    if not isinstance(scope, str):
        raise Unauthenticated("The token's scope is not a text.")
    if not (models is None or (isinstance(models, list) and all(isinstance(name, str) for name in models))):
        raise Unauthenticated("The token's models is not a list of names.")
    via = claims.get("via", [])
    if not (isinstance(via, list) and len(via) <= MAX_MARKS and all(isinstance(mark, str) for mark in via)):
        raise Unauthenticated("The token's via is not a short list of texts.")
    for each in (scope, *(models or ()), *via):
        _sayable(each, "scope, models or via")
    return Principal(
        tenant=_tenant_name(claims.get("tenant", claims["iss"]), "tenant"),
        user=_name(claims["sub"], "sub"),
        scopes=frozenset(scope.split()),
        models=None if models is None else frozenset(models),
        tier=None if tier is None else _name(tier, "tier"),
        until=until,
        since=_since(claims, "auth_time" if "auth_time" in claims else "iat"),
        marks=tuple(dict.fromkeys([*via, *_marks(BUILT_IN, claims)])),
        by_token=True,
    )


def _tenant(issuer: IssuerSettings, claims: Claims) -> str:
    if not issuer.claims.tenant:
        return issuer.name
    tenant = _tenant_name(_at(claims, issuer.claims.tenant), issuer.claims.tenant)
    shared = tenant in issuer.shared_tenants or "*" in issuer.shared_tenants
    return tenant if shared else f"{issuer.name}:{tenant}"


def _at(claims: Claims, name: str) -> Any:
    """Return a claim, None where it is not there: the one of this very name, else along the dots."""
    if not name or name in claims:
        return claims.get(name)
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _name(value: object, claim: str) -> str:
    if not (isinstance(value, str) and value and len(value) <= _MAX_NAME):
        raise Unauthenticated(f"The token's {claim} is not a text of 1 to {_MAX_NAME} characters.")
    if not value.isprintable():
        raise Unauthenticated(f"The token's {claim} holds a character that cannot be printed.")
    return value


def _tenant_name(value: object, claim: str) -> str:
    name = _name(value, claim)
    if "{" in name or "}" in name:
        # The tenant becomes the hash tag of its Redis keys, which braces would move.
        raise Unauthenticated(f"The token's {claim} may not hold braces.")
    return name


def _words(value: object, claim: str) -> list[str]:
    """Return a list of texts, also where they stand between blanks in one, as OAuth writes scopes (RFC 8693 §4.2)."""
    if value is None:
        return []
    if isinstance(value, str):
        return _sayable(value, claim).split()
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return [_sayable(word, claim) for word in value]
    raise Unauthenticated(f"The token's {claim} is neither a text nor a list of texts.")


def _since(claims: Claims, name: str) -> float:
    value = claims.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthenticated(f"The token's {name} is not a number.")
    return float(value)


def _marks(issuer: str, claims: Claims) -> tuple[str, ...]:
    of_subject = mark_of_subject(issuer, _sayable(claims["sub"], "sub"))
    token_id = claims.get("jti")
    return (of_subject,) if token_id is None else (of_subject, mark_of_token(issuer, _sayable(token_id, "jti")))


def _sayable(text: str, claim: str) -> str:
    """Return a text that has bytes: JSON can say half a character, which could never be written down again."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unauthenticated(f"The token's {claim} holds half a character.") from None
    return text
