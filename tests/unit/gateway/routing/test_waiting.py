"""The line at full engines is fair, bounded and honest."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.domain import Demand
from gateway.errors import Overloaded
from gateway.routing import Fleet, Place
from gateway.telemetry.metrics import Metrics
from tests.unit.gateway.routing.fleets import M, fleet, in_flight, turn, waiting


async def queue_up(made: Fleet, demand: Demand, count: int) -> list[asyncio.Task[Place]]:
    """Return so many requests that wait."""
    tasks = [asyncio.create_task(made.place(demand)) for _ in range(count)]
    await turn()
    return tasks


async def end(tasks: list[asyncio.Task[Place]]) -> None:
    """End what still waits."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_quiet_tenant_is_next_whatever_a_noisy_one_has_queued() -> None:
    made = fleet()
    held = await made.place(M)
    noisy = await queue_up(made, Demand(M.model, "noisy"), 20)
    held.release()
    (quiet,) = await queue_up(made, Demand(M.model, "quiet"), 1)
    noisy[0].result().release()
    await turn()
    assert quiet.done()
    await end(noisy)


async def test_a_tenant_has_its_share_of_the_line_and_no_more() -> None:
    made = fleet(max_queued_per_tenant=3)
    await made.place(M)
    noisy = await queue_up(made, Demand(M.model, "noisy"), 3)
    with pytest.raises(Overloaded, match="your requests wait"):
        await made.place(Demand(M.model, "noisy"))
    quiet = await queue_up(made, Demand(M.model, "quiet"), 1)
    assert waiting(made) == 4
    await end([*noisy, *quiet])


async def test_a_full_line_gives_up_the_last_of_who_has_most() -> None:
    made = fleet(max_queued=3)
    held = await made.place(M)
    noisy = await queue_up(made, Demand(M.model, "noisy"), 3)
    quiet = await queue_up(made, Demand(M.model, "quiet"), 1)
    with pytest.raises(Overloaded, match="others had waited for less"):
        await noisy[-1]
    assert (waiting(made), in_flight(made)) == (3, [1])
    await end([*noisy, *quiet])
    held.release()
    assert in_flight(made) == [0]


async def test_who_could_not_start_in_time_is_refused_at_once_and_told_how_long_it_takes() -> None:
    metrics = Metrics()
    made = fleet(metrics, queue_seconds=2)
    made._waiting.rate.ended(1.0)
    await made.place(M)
    tasks = await queue_up(made, M, 2)
    started = time.monotonic()
    with pytest.raises(Overloaded, match="room in time") as caught:
        await made.place(M)
    assert time.monotonic() - started < 0.5
    assert caught.value.retry_after_ms
    assert 3000 <= caught.value.retry_after_ms <= 3750
    assert metrics.registry.get_sample_value("gateway_place_refused_total", {"reason": "too_late"}) == 1
    await end(tasks)


async def test_the_rate_is_measured_by_answered_requests_only() -> None:
    made = fleet(max_in_flight=5)
    failed, answered = await made.place(M), await made.place(M)
    failed.release()
    assert made._waiting.rate.hold_seconds == 0
    answered.answered()
    await asyncio.sleep(0.05)
    answered.release()
    assert 0.04 < made._waiting.rate.hold_seconds < 1


async def test_prompt_tokens_count_until_the_first_content() -> None:
    made = fleet(max_in_flight=5, max_prefill_tokens=1000)
    first = await made.place(Demand(M.model, prefill_tokens=800))
    (second,) = await queue_up(made, Demand(M.model, prefill_tokens=300), 1)
    assert not second.done()
    assert made.members[0].prefill_tokens == 800
    first.answered()
    await turn()
    assert second.done()
    first.release()
    second.result().release()
    assert (made.members[0].prefill_tokens, in_flight(made)) == (0, [0])


async def test_a_short_prompt_does_not_overtake_a_long_one_that_waits() -> None:
    made = fleet(max_in_flight=5, max_prefill_tokens=1000)
    held = await made.place(Demand(M.model, prefill_tokens=900))
    (long,) = await queue_up(made, Demand(M.model, prefill_tokens=900), 1)
    (short,) = await queue_up(made, Demand(M.model, prefill_tokens=10), 1)
    assert not short.done()
    held.answered()
    await turn()
    assert (long.done(), short.done()) == (True, True)
