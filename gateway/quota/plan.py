"""Which keys and which buckets one caller's requests to one model go through: worked out once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import orjson

from gateway.domain import Caller, Tier
from gateway.quota.bucket import Rule
from gateway.quota.rules import Scope, ScopeRules, scopes_of
from gateway.store import keys

_MAX_PLANS = 10_000

Arguments = tuple[str | int | float, ...]


@dataclass(frozen=True, slots=True)
class Tail:
    """What a script is told of buckets and sets: its last keys and its last arguments."""

    keys: tuple[str, ...]
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Plan:
    """The limits of one caller at one model."""

    tier: Tier
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
    reserve: Tail
    give_back: Tail
    """All buckets."""
    settle: Tail
    """Only the buckets that count tokens: an answered request stays counted."""
    keep: Tail
    """No buckets: what was reserved is what is charged."""

    @property
    def limited(self) -> bool:
        """Whether there is anything to ask Redis for."""
        return bool(self.rules or self.sets)

    @property
    def token_rules(self) -> tuple[Rule, ...]:
        """The buckets that count tokens."""
        return tuple(rule for rule in self.rules if rule.counts_tokens)


class Plans:
    """The plans in use; the longest unused is forgotten beyond ten thousand."""

    def __init__(self, default: Tier) -> None:
        self._default = default
        self._plans: OrderedDict[tuple[str, str, str], Plan] = OrderedDict()

    def of(self, caller: Caller, model: str) -> Plan:
        """Return the caller's plan; a new one where its tier has changed."""
        key = (caller.tenant, caller.user, model)
        tier = caller.tier or self._default
        plan = self._plans.get(key)
        if plan is None or (plan.tier is not tier and plan.tier != tier):
            plan = self._plans[key] = plan_of(caller, model, tier)
            if len(self._plans) > _MAX_PLANS:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return plan


def plan_of(caller: Caller, model: str, tier: Tier) -> Plan:
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
    every, tokens = _tail(scopes, bucket_key, set_keys), _tail(scopes, bucket_key, set_keys, tokens_only=True)
    limits = tuple(each.concurrent_requests for each in at_once)
    return Plan(
        tier=tier,
        tenant=caller.tenant,
        model=model,
        user=caller.user,
        ledger_field=orjson.dumps([caller.user, model]).decode(),
        rules=tuple(rule for each in scopes for rule in each.rules),
        scopes=tuple(each.scope for each in scopes for _ in each.rules),
        rule_keys=tuple(bucket_key[each.scope]() for each in scopes for _ in each.rules),
        sets=tuple((each.scope, each.concurrent_requests) for each in at_once),
        set_keys=set_keys,
        reserve=Tail(
            (keys.leases(caller.tenant), keys.reservations(caller.tenant), *every.keys),
            (len(limits), *limits, *every.arguments),
        ),
        give_back=every,
        settle=tokens,
        keep=Tail(set_keys, (0,)),
    )


def _tail(
    scopes: Iterable[ScopeRules],
    bucket_key: Mapping[Scope, Callable[[], str]],
    set_keys: tuple[str, ...],
    *,
    tokens_only: bool = False,
) -> Tail:
    hashes: list[str] = []
    arguments: list[str | int | float] = []
    for each in scopes:
        rules = [rule for rule in each.rules if rule.counts_tokens or not tokens_only]
        if rules:
            hashes.append(bucket_key[each.scope]())
            arguments.append(len(rules))
            for rule in rules:
                arguments += [rule.name, int(rule.counts_tokens), rule.capacity, rule.window_seconds]
    return Tail((*hashes, *set_keys), (len(hashes), *arguments))
