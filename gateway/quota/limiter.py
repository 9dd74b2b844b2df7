"""Reserve before the engine is asked, settle by what it counted after: room 5."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from config import LimitsSettings
from config.schema import RedisDownPolicy
from gateway.domain import Caller, Clock, Prompt, RequestId
from gateway.errors import StoreDown
from gateway.quota.alone import LocalBuckets
from gateway.quota.calls import Arguments, reserve_arguments, settle_arguments
from gateway.quota.decision import Decision
from gateway.quota.estimate import Estimator, Expected
from gateway.quota.permit import NO_USAGE, Charge, Permit
from gateway.quota.plan import Plans
from gateway.quota.refusal import kind_of, never_fits, refusal
from gateway.quota.rules import default_tier
from gateway.quota.settles import Settles
from gateway.quota.terms import Calendar
from gateway.store import Store, keys
from gateway.telemetry.metrics import Metrics

_NEAR = 0.8


class Limiter:
    """Token buckets, concurrent requests and the ledger. While Redis is away the policy decides."""

    def __init__(self, settings: LimitsSettings, store: Store, metrics: Metrics, clock: Clock = time.monotonic) -> None:
        self._policy = settings.on_redis_down
        self._store = store
        self._metrics = metrics
        self._plans = Plans(default_tier(settings), Calendar(settings))
        self._estimator = Estimator()
        self._local = LocalBuckets(clock)
        self.settles = Settles(store, metrics)
        self.open: dict[RequestId, Permit] = {}
        """What this process has reserved and not settled."""
        self.tenants: set[str] = set()
        """Seen since the upkeep last emptied it."""
        self._not_noted: set[str] = set()
        self.gateways = 1
        """How many there were when Redis was last asked; never less than this one."""

    def note_again(self) -> None:
        """Have the tenants found that were first seen while Redis was away. To be called when it is back."""
        again, self._not_noted = self._not_noted, set()
        for tenant in again:
            self._note(tenant)

    def expected(self, caller: Caller, prompt: Prompt) -> Expected:
        """Return what `prompt` is expected to cost, before any engine has counted it."""
        return self._estimator.expected(caller.tenant, prompt)

    def is_near_capacity(self, caller: Caller, prompt: Prompt, expected: Expected) -> bool:
        """Whether the estimated prompt is so near to what a bucket can ever hold that it is worth counting."""
        return expected.prompt_tokens > _NEAR * self._plans.of(caller, prompt.model).least_tokens

    def check_fits(self, caller: Caller, prompt: Prompt, counted_tokens: int) -> None:
        """Raise NeverFits for a prompt, counted by an engine, that is larger than a bucket ever holds."""
        plan = self._plans.of(caller, prompt.model)
        for rule, scope in zip(plan.rules, plan.scopes, strict=True):
            if rule.counts_tokens and counted_tokens > rule.capacity:
                raise never_fits(rule, scope, counted_tokens)

    async def reserve(
        self, caller: Caller, request_id: RequestId, model: str, expected: Expected, prompt: Prompt | None = None
    ) -> Permit:
        """Take one request and what it is expected to cost from all the caller's buckets.

        From the usage of `prompt` more will be learnt. Raises RateLimited; StoreDown under the policy `closed`.
        """
        plan = self._plans.of(caller, model)
        if plan.tenant not in self.tenants:
            self._note(plan.tenant)
        permit = Permit(request_id, plan, prompt, expected, self._settle)
        arguments = reserve_arguments(request_id, expected)
        if plan.limited:
            await self._decide(permit, arguments)
        elif plan.terms.ledger_seconds:
            self._store.post_prepared(plan.calls.reserve, arguments, permit.granted_alone)
        self.open[request_id] = permit
        return permit

    async def _decide(self, permit: Permit, arguments: Arguments) -> None:
        """Return if the permit is granted. Raises RateLimited, StoreDown."""
        plan = permit.plan
        try:
            wait_ms, waits_for, *thousandths = await self._store.run_prepared(plan.calls.reserve, arguments)
        except StoreDown as down:
            decision = self._decide_alone(permit, down)
        except asyncio.CancelledError:
            # Redis takes it all the same, when nobody is here any more to give it back.
            self._forget(permit)
            raise
        else:
            balances = [value / 1000 for value in thousandths]
            if wait_ms == 0:
                permit.headers = plan.headers.of(balances)
                return
            decision = Decision(wait_ms / 1000, waits_for, tuple(balances))
        headers = plan.headers.of(decision.balances)
        if not decision.granted:
            self._metrics.limit_refused(*kind_of(plan, decision))
            raise refusal(plan, decision, headers)
        permit.headers = headers

    def _decide_alone(self, permit: Permit, down: StoreDown) -> Decision:
        if self._policy is RedisDownPolicy.CLOSED:
            self._forget_if_sent(permit, down)
            raise down
        self._metrics.degraded.inc()
        decision = self._local.reserve(permit.plan, permit.expected.tokens, self.gateways)
        if decision.granted:
            permit.granted_alone()
        else:
            self._forget_if_sent(permit, down)
        return decision

    def _settle(self, permit: Permit) -> None:
        """Close a permit. Never waits; called once, by the permit itself."""
        del self.open[permit.request_id]
        plan, expected, charge, used = permit.plan, permit.expected, permit.charge, permit.used
        if charge is Charge.USAGE and permit.prompt is not None:
            self._estimator.learn(plan.tenant, permit.prompt, used)
            self._metrics.reservation_settled(expected.tokens, used.total_tokens)
        if permit.alone:
            whole = charge is Charge.NOTHING
            self._local.settle(plan, expected.tokens, used.total_tokens, self.gateways, whole=whole)
        if plan.limited or plan.terms.ledger_seconds:
            arguments = settle_arguments(permit.request_id, expected, used, alone=permit.alone)
            self.settles.send(charge.call_of(plan.calls), arguments)

    def _forget_if_sent(self, permit: Permit, down: StoreDown) -> None:
        """Redis may have got the call, and only its answer be missing."""
        if down.sent:
            self._forget(permit)

    def _forget(self, permit: Permit) -> None:
        """Give everything back, if Redis has taken it at all."""
        arguments = settle_arguments(permit.request_id, permit.expected, NO_USAGE)
        self.settles.send(permit.plan.calls.nothing, arguments)

    def _note(self, tenant: str) -> None:
        """Have the tenant's reservations and usage found by every gateway."""
        self.tenants.add(tenant)
        command = ("ZADD", keys.tenants(), int(time.time()), tenant)
        self._store.post(*command, lost=partial(self._not_noted.add, tenant))
