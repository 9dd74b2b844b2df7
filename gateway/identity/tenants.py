"""Tenants and tiers: what a principal is entitled to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from config.tenants import LimitsEntry, TenantEntry, TenantsFile, TierEntry
from gateway.domain import Caller, Limits, Tier
from gateway.errors import Forbidden
from gateway.identity.principal import Principal

_UNLISTED = TenantEntry()


@dataclass(frozen=True, slots=True)
class TenantTable:
    """The file of tenants as it stood when it was read; empty without one."""

    tiers: Mapping[str, Tier] = field(default_factory=dict)
    tenants: Mapping[str, TenantEntry] = field(default_factory=dict)
    default_tier: Tier | None = None

    def caller(self, principal: Principal) -> Caller:
        """Return the principal as a caller. Raises Forbidden where its tenant is suspended.

        The tier is the one that the credential names, else the tenant's, else the default one; a name that the table
        does not have counts as none. A model must be allowed by the credential and by the tenant.
        """
        tenant = self.tenants.get(principal.tenant, _UNLISTED)
        if tenant.suspended:
            raise Forbidden(f"The tenant '{principal.tenant}' is suspended.")
        named = self._tier(principal.tier) or self._tier(tenant.tier)
        return Caller(
            tenant=principal.tenant,
            user=principal.user,
            scopes=principal.scopes,
            models=_both(principal.models, tenant.models),
            tier=named or self.default_tier,
        )

    def _tier(self, name: str | None) -> Tier | None:
        return None if name is None else self.tiers.get(name)


def table_of(file: TenantsFile) -> TenantTable:
    """Return the table that a file describes."""
    tiers = {name: _tier_of(name, entry) for name, entry in file.tiers.items()}
    return TenantTable(tiers, file.tenants, None if file.default_tier is None else tiers[file.default_tier])


def _tier_of(name: str, entry: TierEntry) -> Tier:
    return Tier(
        name=name,
        user=_limits_of(entry.user),
        tenant=_limits_of(entry.tenant),
        tenant_model=_limits_of(entry.tenant_model),
        priority=entry.priority,
        weight=entry.weight,
    )


def _limits_of(entry: LimitsEntry) -> Limits:
    return Limits(**entry.model_dump())


def _both(credential: frozenset[str] | None, tenant: tuple[str, ...] | None) -> frozenset[str] | None:
    if tenant is None:
        return credential
    return frozenset(tenant) if credential is None else credential & frozenset(tenant)
