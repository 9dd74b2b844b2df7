"""A refusal in words: what is used up, and when to come back."""

from __future__ import annotations

from gateway.domain import Headers
from gateway.errors import NeverFits, QuotaExhausted, RateLimited, TokensLimited
from gateway.quota.bucket import Rule
from gateway.quota.decision import Decision
from gateway.quota.headers import go_duration
from gateway.quota.plan import Plan
from gateway.quota.rules import Scope

_SOON_SECONDS = 600.0
"""What takes longer to refill is a spent quota and not a rate: an SDK must not wait for it."""

_WHOSE = {
    Scope.USER: "Your limit",
    Scope.TENANT: "Your tenant's limit",
    Scope.TENANT_MODEL: "Your tenant's limit at this model",
}
_PER = {60: "a minute", 3600: "an hour", 86_400: "a day"}


def kind_of(plan: Plan, decision: Decision) -> tuple[str, str]:
    """Return the scope and the name of the limit that a request waits for, as metrics call them."""
    if decision.waits_for < 0:
        return plan.sets[-decision.waits_for - 1][0].value, "concurrent"
    index = decision.waits_for - 1
    return plan.scopes[index].value, plan.rules[index].name


def refusal(plan: Plan, decision: Decision, headers: Headers) -> RateLimited:
    """Return the error for a request that was not granted."""
    wait_ms = max(1, round(decision.wait_seconds * 1000))
    if decision.waits_for < 0:
        scope, limit = plan.sets[-decision.waits_for - 1]
        error = RateLimited(
            f"{_WHOSE[scope]} of {limit} concurrent requests is reached. Please try again when one has ended.",
            retry_after_ms=wait_ms,
        )
    else:
        error = _of_bucket(plan, decision, wait_ms)
    error.headers = headers
    return error


def _of_bucket(plan: Plan, decision: Decision, wait_ms: int) -> RateLimited:
    index = decision.waits_for - 1
    rule = plan.rules[index]
    limit = f"{_WHOSE[plan.scopes[index]]} of {_amount(rule)} {_PER[rule.window_seconds]} is reached."
    again = f"Please try again in {go_duration(decision.wait_seconds)}."
    if decision.wait_seconds > _SOON_SECONDS:
        return QuotaExhausted(f"{limit} {again}", retry_after_ms=wait_ms)
    kind = TokensLimited if rule.counts_tokens else RateLimited
    return kind(f"Rate limit reached. {limit} {again}", retry_after_ms=wait_ms)


def never_fits(rule: Rule, scope: Scope, prompt_tokens: int) -> NeverFits:
    """Return the error for a prompt that is larger than a bucket ever holds."""
    return NeverFits(
        f"The prompt has {prompt_tokens} tokens and can never fit: {_WHOSE[scope].lower()} is {_amount(rule)} "
        f"{_PER[rule.window_seconds]}. Please shorten it.",
        param="messages",
    )


def _amount(rule: Rule) -> str:
    return f"{int(rule.capacity)} {'tokens' if rule.counts_tokens else 'requests'}"
