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
