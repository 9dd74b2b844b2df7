"""What the scripts are called with."""

from __future__ import annotations

import time

from config import LimitsSettings
from gateway.domain import RequestId, Usage
from gateway.quota.estimate import Expected
from gateway.quota.permit import Charge
from gateway.quota.plan import Arguments, Plan
from gateway.quota.settles import Settle
from gateway.store import keys

_DAY_SECONDS = 86_400
SERVER_TIME = 0
"""The moment that gateways give: none, so that Redis's clock is the one for all of them."""


class Calls:
    """Puts plans, estimates and counts into the scripts' order."""

    def __init__(self, settings: LimitsSettings) -> None:
        self.lease_us = int(settings.lease_seconds * 1_000_000)
        self.has_ledger = settings.usage_retention_days > 0
        self.ledger_seconds = (settings.usage_retention_days + 1) * _DAY_SECONDS
        self._day = (0, "")

    def reserve(self, request_id: RequestId, plan: Plan, expected: Expected) -> Arguments:
        """Return the arguments of reserve.lua; its keys are the plan's."""
        field = plan.ledger_field if self.has_ledger else ""
        record = f"{expected.prompt_tokens} {expected.output_tokens} {field}"
        return (request_id, record, expected.tokens, self.lease_us, SERVER_TIME, *plan.reserve.arguments)

    def settle(
        self,
        request_id: RequestId,
        plan: Plan,
        expected: Expected,
        charge: Charge,
        usage: Usage | None = None,
        *,
        alone: bool = False,
    ) -> Settle:
        """Return the call of settle.lua that charges by one of the three rules."""
        used = usage or Usage(expected.prompt_tokens, expected.output_tokens)
        tail, field = plan.keep, plan.ledger_field
        if charge is Charge.USAGE:
            tail = plan.settle
        if charge is Charge.NOTHING:
            used, tail, field = Usage(0, 0), plan.give_back, ""
        tenant = plan.tenant
        return Settle(
            (
                *(keys.leases(tenant), keys.reservations(tenant), keys.reaped(tenant)),
                *(keys.usage(tenant, self.today()), *tail.keys),
            ),
            (
                *(request_id, SERVER_TIME, int(alone), field if self.has_ledger else "", self.ledger_seconds, 1),
                *(used.prompt_tokens, used.completion_tokens, used.cached_tokens, int(charge is Charge.RESERVED)),
                *(expected.tokens, used.total_tokens, *tail.arguments),
            ),
        )

    def today(self) -> str:
        """Return the day in UTC, as the ledger calls it."""
        day = int(time.time()) // _DAY_SECONDS
        if day != self._day[0]:
            self._day = (day, time.strftime("%Y-%m-%d", time.gmtime(day * _DAY_SECONDS)))
        return self._day[1]
