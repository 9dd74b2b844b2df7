"""What a principal is entitled to by the table of tenants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.tenants import TenantsFile
from gateway.domain import Caller, Limits, Tier
from gateway.errors import Forbidden
from gateway.identity.principal import Principal
from gateway.identity.tenants import TenantTable, table_of

ANN = Principal("acme", "ann", frozenset({"chat"}))
FILE = {
    "default_tier": "standard",
    "tiers": {
        "standard": {"user": {"requests_per_minute": 60}},
        "gold": {
            "user": {"requests_per_minute": 1, "requests_per_hour": 2, "tokens_per_minute": 3, "tokens_per_day": 4},
            "tenant": {"concurrent_requests": 5},
            "tenant_model": {"tokens_per_minute": 6},
            "priority": -3,
            "weight": 7,
        },
    },
    "tenants": {
        "acme": {"tier": "gold", "models": ["a", "b"]},
        "plain": {},
        "late": {"suspended": True},
        "none": {"models": []},
    },
}
TABLE = table_of(TenantsFile.model_validate(FILE))
STANDARD = Tier("standard", Limits(requests_per_minute=60))
GOLD = Tier("gold", Limits(1, 2, 3, 4), Limits(concurrent_requests=5), Limits(tokens_per_minute=6), -3, 7)


def test_without_a_table_the_settings_own_limits_hold() -> None:
    assert TenantTable().caller(ANN) == Caller("acme", "ann", frozenset({"chat"}))


@pytest.mark.parametrize(
    ("tenant", "named", "tier"),
    [
        ("acme", None, GOLD),
        ("acme", "standard", STANDARD),
        ("plain", None, STANDARD),
        ("plain", "gold", GOLD),
        ("unlisted", None, STANDARD),
        ("unlisted", "gold", GOLD),
        ("acme", "no such tier", GOLD),
        ("unlisted", "no such tier", STANDARD),
    ],
)
def test_the_credentials_tier_goes_before_the_tenants_and_that_before_the_default(
    tenant: str, named: str | None, tier: Tier
) -> None:
    assert TABLE.caller(replace(ANN, tenant=tenant, tier=named)).tier == tier


def test_without_a_default_tier_the_settings_limits_hold_for_unlisted_tenants() -> None:
    table = table_of(TenantsFile.model_validate({**FILE, "default_tier": None}))
    assert table.caller(replace(ANN, tenant="unlisted")).tier is None


@pytest.mark.parametrize(
    ("tenant", "models", "allowed"),
    [
        ("plain", None, None),
        ("plain", {"a"}, {"a"}),
        ("acme", None, {"a", "b"}),
        ("acme", {"b", "c"}, {"b"}),
        ("acme", {"c"}, set()),
        ("none", None, set()),
    ],
)
def test_a_model_must_be_allowed_by_the_credential_and_by_the_tenant(
    tenant: str, models: set[str] | None, allowed: set[str] | None
) -> None:
    asked = None if models is None else frozenset(models)
    assert TABLE.caller(replace(ANN, tenant=tenant, models=asked)).models == allowed


def test_a_suspended_tenant_is_refused_by_name() -> None:
    with pytest.raises(Forbidden, match="late"):
        TABLE.caller(replace(ANN, tenant="late"))
