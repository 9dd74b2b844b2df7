"""What a tier allows, as rules: which bucket, of whom, how large. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from config import LimitsSettings
from gateway.domain import Limits, Tier
from gateway.quota.bucket import Rule

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


class Scope(StrEnum):
    """Whose limit it is: in metrics, messages and key names."""

    USER = "user"
    TENANT = "tenant"
    TENANT_MODEL = "tenant_model"


@dataclass(frozen=True, slots=True)
class ScopeRules:
    """The buckets of one scope, and how many of its requests may run at once (0: any number)."""

    scope: Scope
    rules: tuple[Rule, ...]
    concurrent_requests: int


def default_tier(settings: LimitsSettings) -> Tier:
    """Return the tier of callers that have none: the settings' limits, for each user."""
    return Tier(
        "default",
        user=Limits(
            requests_per_minute=settings.requests_per_minute,
            requests_per_hour=settings.requests_per_hour,
            tokens_per_minute=settings.tokens_per_minute,
            tokens_per_day=settings.tokens_per_day,
            concurrent_requests=settings.concurrent_requests,
        ),
    )


def rules_of(limits: Limits) -> tuple[Rule, ...]:
    """Return the buckets that limits ask for; a limit of 0 is none."""
    wanted = (
        Rule("requests_minute", limits.requests_per_minute, _MINUTE),
        Rule("requests_hour", limits.requests_per_hour, _HOUR),
        Rule("tokens_minute", limits.tokens_per_minute, _MINUTE, counts_tokens=True),
        Rule("tokens_day", limits.tokens_per_day, _DAY, counts_tokens=True),
    )
    return tuple(rule for rule in wanted if rule.capacity)


def scopes_of(tier: Tier) -> tuple[ScopeRules, ...]:
    """Return the scopes in which a tier limits anything."""
    return tuple(_scopes(tier))


def _scopes(tier: Tier) -> Iterator[ScopeRules]:
    for scope, limits in (
        (Scope.USER, tier.user),
        (Scope.TENANT, tier.tenant),
        (Scope.TENANT_MODEL, tier.tenant_model),
    ):
        rules = rules_of(limits)
        if rules or limits.concurrent_requests:
            yield ScopeRules(scope, rules, limits.concurrent_requests)
