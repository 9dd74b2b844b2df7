"""Many short requests, a good part of them left by their clients at any moment: nothing of them stays anywhere."""

from __future__ import annotations

import pytest

from tests.bench import churn
from tests.bench.leaving import MOMENTS


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_requests_leave_nothing_behind_whenever_their_clients_leave() -> None:
    plan = churn.Plan(requests=6_000)
    churned = await churn.run(plan)
    print(churn.report(plan, churned))
    assert churned.wrong == {}
    assert churned.held == {}
    assert churned.ends.total() == plan.requests
    assert all(churned.ends[moment] for moment in MOMENTS)
    assert churned.ledger == churned.sent
    # An engine may not have seen what was left the moment it was sent.
    assert churned.ends["whole"] < churned.engines_saw <= churned.sent < plan.requests
    assert churned.grown(lambda sight: sight.tasks) <= 0
    assert churned.grown(lambda sight: sight.open_files) <= 2
    assert churned.grown(lambda sight: sight.objects) < plan.requests // 2 / 10
    assert churned.grown(lambda sight: sight.rss_mib) < 8
    assert churned.grown(lambda sight: sight.redis_mib) < 1
