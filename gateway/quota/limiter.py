"""Reserve before the engine is asked, refund what was refused after."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Self

from config import LimitsSettings
from config.schema import RedisDownPolicy
from gateway.domain import Caller, Clock, Headers
from gateway.errors import RateLimited, StoreDown
from gateway.quota.bucket import Balance, Rule, reserve
from gateway.quota.headers import go_duration, request_headers
from gateway.store import Store, keys, load_script
from gateway.telemetry.metrics import Metrics

_RESERVE = load_script("gateway.quota", "reserve.lua")
_REFUND = load_script("gateway.quota", "refund.lua")
_MAX_LOCAL_USERS = 10_000


class Permit:
    """One reserved request: enter it to own it. On exit it is given back, to where it came from, unless `used`."""

    __slots__ = ("_refund", "headers", "used")

    def __init__(self, headers: Headers, refund: Callable[[], None] | None = None) -> None:
        self.headers = headers
        self.used = False
        self._refund = refund

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        refund, self._refund = self._refund, None
        if refund is not None and not self.used:
            refund()


class Limiter:
    """Token buckets per user. While Redis is away the policy decides: this process counts alone, or nobody passes."""

    def __init__(self, settings: LimitsSettings, store: Store, metrics: Metrics, clock: Clock = time.monotonic) -> None:
        self._rules = rules_of(settings)
        self._arguments = [part for rule in self._rules for part in (rule.name, rule.capacity, rule.window_seconds)]
        self._policy = settings.on_redis_down
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._local: OrderedDict[tuple[str, str], tuple[Balance, ...]] = OrderedDict()

    async def reserve(self, caller: Caller) -> Permit:
        """Take one request from the caller's buckets. Raises RateLimited; StoreDown under the policy `closed`."""
        if not self._rules:
            return Permit([])
        refund = self._refund
        try:
            wait_seconds, balances = await self._reserve_in_redis(caller)
        except StoreDown:
            if self._policy is RedisDownPolicy.CLOSED:
                raise
            refund = self._refund_here
            self._metrics.degraded.inc()
            wait_seconds, balances = self._reserve_here(caller)
        headers = request_headers(self._rules, balances)
        if wait_seconds > 0:
            raise _refusal(wait_seconds, headers)
        return Permit(headers, partial(refund, caller))

    async def _reserve_in_redis(self, caller: Caller) -> tuple[float, tuple[float, ...]]:
        key = keys.quota(caller.tenant, caller.user)
        wait_ms, *thousandths = await self._store.run(_RESERVE, [key], [1, *self._arguments])
        return wait_ms / 1000, tuple(value / 1000 for value in thousandths)

    def _reserve_here(self, caller: Caller) -> tuple[float, tuple[float, ...]]:
        now = self._clock()
        who = (caller.tenant, caller.user)
        before = self._local.get(who) or tuple(Balance(rule.capacity, now) for rule in self._rules)
        wait_seconds, after = reserve(self._rules, before, now)
        self._local[who] = after
        self._local.move_to_end(who)
        if len(self._local) > _MAX_LOCAL_USERS:
            self._local.popitem(last=False)
        return wait_seconds, tuple(balance.amount for balance in after)

    def _refund_here(self, caller: Caller) -> None:
        who = (caller.tenant, caller.user)
        if who in self._local:
            self._local[who] = tuple(Balance(each.amount + 1, each.at_seconds) for each in self._local[who])

    def _refund(self, caller: Caller) -> None:
        names = [rule.name for rule in self._rules]
        key = keys.quota(caller.tenant, caller.user)
        self._store.post("EVAL", _REFUND.text, 1, key, 1, *names)


def rules_of(settings: LimitsSettings) -> tuple[Rule, ...]:
    """Return the buckets that the settings ask for; a limit of 0 is none."""
    wanted = (Rule("minute", settings.requests_per_minute, 60), Rule("hour", settings.requests_per_hour, 3600))
    return tuple(rule for rule in wanted if rule.capacity)


def _refusal(wait_seconds: float, headers: Headers) -> RateLimited:
    error = RateLimited(
        f"Rate limit reached. Please try again in {go_duration(wait_seconds)}.",
        retry_after_ms=round(wait_seconds * 1000),
    )
    error.headers = headers
    return error
