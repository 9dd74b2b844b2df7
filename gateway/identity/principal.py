"""What a credential that holds says of its bearer, before the table of tenants has its say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """`tier` is the name of one, None where the tenant's own counts; `until` the Unix time at which all this ends."""

    tenant: str
    user: str
    scopes: frozenset[str] = frozenset()
    models: frozenset[str] | None = None
    tier: str | None = None
    until: float = float("inf")
    since: float = 0.0
    """When the bearer last proved who it is: what was revoked at or after this moment no longer holds."""
    marks: tuple[str, ...] = ()
    """What this can be revoked by."""
    by_token: bool = False
    """Whether the credential is a token, and no key."""


def mark_of_token(issuer: str, token_id: str) -> str:
    """Return the mark of one token, by its `jti`."""
    return f"jti:{issuer}:{token_id}"


def mark_of_subject(issuer: str, subject: str) -> str:
    """Return the mark of everything that an issuer has said of a subject."""
    return f"sub:{issuer}:{subject}"


def mark_of_key(key_id: str) -> str:
    """Return the mark of what was made with an API key."""
    return f"key:{key_id}"
