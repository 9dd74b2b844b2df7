"""What one caller's requests to one model go through: worked out once and kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import orjson

from gateway.domain import Caller, Tier
from gateway.quota.bucket import Rule
from gateway.quota.calls import Calls, calls_of
from gateway.quota.headers import LimitHeaders
from gateway.quota.rules import Scope, scopes_of
from gateway.quota.terms import Calendar, Terms
from gateway.store import keys

_MAX_PLANS = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The limits of one caller at one model, on one day."""

    tier: Tier
    terms: Terms
    tenant: str
    model: str
    user: str
    ledger_field: str
    """`["user","model"]`: what the ledger books under."""
    rules: tuple[Rule, ...]
    scopes: tuple[Scope, ...]
    rule_keys: tuple[str, ...]
    """Of each rule: whose it is, and the hash it is in."""
    sets: tuple[tuple[Scope, int], ...]
    """Whose concurrent requests are limited, and to how many."""
    set_keys: tuple[str, ...]
    limited: bool
    """Whether there is anything to ask Redis for."""
    least_tokens: float
    """What the smallest bucket that counts tokens holds."""
    headers: LimitHeaders
    calls: Calls


class Plans:
    """The plans in use; the oldest is forgotten beyond ten thousand, and made anew where it is still in use."""

    def __init__(self, default: Tier, calendar: Calendar) -> None:
        self._default = default
        self._calendar = calendar
        self._plans: dict[tuple[str, str, str], Plan] = {}

    def of(self, caller: Caller, model: str) -> Plan:
        """Return the caller's plan; a new one where its tier has changed, and on a new day."""
        key = (caller.tenant, caller.user, model)
        tier = caller.tier or self._default
        terms = self._calendar.today()
        plan = self._plans.get(key)
        if plan is None or plan.terms is not terms or (plan.tier is not tier and plan.tier != tier):
            plan = self._plans[key] = plan_of(caller, model, tier, terms)
            if len(self._plans) > _MAX_PLANS:
                del self._plans[next(iter(self._plans))]
        return plan


def plan_of(caller: Caller, model: str, tier: Tier, terms: Terms) -> Plan:
    """Return the plan for a caller of this tier."""
    scopes = scopes_of(tier)
    bucket_key = {
        Scope.USER: partial(keys.quota_of_user, caller.tenant, caller.user),
        Scope.TENANT: partial(keys.quota_of_tenant, caller.tenant),
        Scope.TENANT_MODEL: partial(keys.quota_of_model, caller.tenant, model),
    }
    set_key = {
        Scope.USER: partial(keys.concurrent_of_user, caller.tenant, caller.user),
        Scope.TENANT: partial(keys.concurrent_of_tenant, caller.tenant),
        Scope.TENANT_MODEL: partial(keys.concurrent_of_model, caller.tenant, model),
    }
    at_once = [each for each in scopes if each.concurrent_requests]
    set_keys = tuple(set_key[each.scope]() for each in at_once)
    ledger_field = orjson.dumps([caller.user, model]).decode()
    rules = tuple(rule for each in scopes for rule in each.rules)
    return Plan(
        tier=tier,
        terms=terms,
        tenant=caller.tenant,
        model=model,
        user=caller.user,
        ledger_field=ledger_field,
        rules=rules,
        scopes=tuple(each.scope for each in scopes for _ in each.rules),
        rule_keys=tuple(bucket_key[each.scope]() for each in scopes for _ in each.rules),
        sets=tuple((each.scope, each.concurrent_requests) for each in at_once),
        set_keys=set_keys,
        limited=bool(rules or at_once),
        least_tokens=min((rule.capacity for rule in rules if rule.counts_tokens), default=math.inf),
        headers=LimitHeaders(rules),
        calls=calls_of(caller.tenant, ledger_field, terms, scopes, bucket_key, set_keys),
    )
