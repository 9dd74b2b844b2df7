"""What becomes of a request whose engine failed it, and of the engine."""

from __future__ import annotations

import time

from gateway.errors import (
    EngineBroke,
    EngineDied,
    EngineErred,
    EngineFailure,
    EngineRefused,
    EngineTimedOut,
)
from gateway.routing import Fleet, Place
from gateway.routing.member import State
from gateway.telemetry.metrics import Metrics
from tests.unit.gateway.routing.fleets import M, fleet, in_flight


def again(made: Fleet, failure: EngineFailure, tried: int, suspect: bool = False) -> bool:
    """Ask whether a request that failed so at the first `tried` engines may be tried again."""
    return made.may_try_again(M, failure, {each.replica.name for each in made.members[:tried]}, suspect)


async def test_a_request_is_tried_again_only_where_another_engine_could_make_it_good() -> None:
    made = fleet(engines=3, max_attempts=3)
    assert again(made, EngineBroke("x"), 1)
    assert again(made, EngineErred("x"), 1)
    assert not again(made, EngineTimedOut("x"), 1)
    assert again(made, EngineBroke("x"), 2)
    assert not again(made, EngineBroke("x"), 3)
    made.mark_sick(made.members[2], "gone")
    assert not again(made, EngineBroke("x"), 2)


async def test_a_request_that_may_have_killed_an_engine_gets_one_other_and_no_third() -> None:
    made = fleet(engines=3, max_attempts=5)
    assert again(made, EngineDied("x"), 1, suspect=True)
    assert not again(made, EngineRefused("x"), 2, suspect=True)


async def test_second_tries_end_with_their_budget() -> None:
    metrics = Metrics()
    made = fleet(metrics, engines=2, retry_share=0.0)
    allowed = [again(made, EngineBroke("x"), 1) for _ in range(30)]
    assert allowed == [True] * 20 + [False] * 10
    assert metrics.registry.get_sample_value("gateway_retries_denied_total") == 10


async def test_an_engine_that_fails_again_and_again_is_left_out_but_never_the_last() -> None:
    made = fleet(engines=2, max_in_flight=50, breaker_failures=3)
    for member in made.members:
        for _ in range(3):
            (await made.place(M, {each.replica.name for each in made.members} - {member.replica.name})).failed(
                EngineErred("x")
            )
    assert [member.state for member in made.members] == [State.SICK, State.READY]
    assert made.members[0].ejected_until > time.monotonic()
    assert in_flight(made) == [0, 0]


async def begun(made: Fleet) -> Place:
    """Return a place at the first engine whose answer has begun."""
    place = await made.place(M, {each.replica.name for each in made.members[1:]})
    place.answered()
    return place


async def test_an_engine_left_out_is_taken_back_at_once_when_the_last_other_is_gone() -> None:
    made = fleet(engines=2, breaker_failures=1)
    place = await made.place(M)
    place.failed(EngineBroke("x"))
    assert place.member.state is State.SICK
    (other,) = [member for member in made.members if member is not place.member]
    made.mark_sick(other, "gone")
    assert (place.member.state, other.state) == (State.READY, State.SICK)
    assert (await made.place(M)).member is place.member


async def test_an_engine_that_begins_every_answer_and_ends_none_is_left_out() -> None:
    made = fleet(engines=2, max_in_flight=50, breaker_failures=3)
    for _ in range(3):
        (await begun(made)).failed(EngineBroke("cut"))
    assert [member.state for member in made.members] == [State.SICK, State.READY]
    assert in_flight(made) == [0, 0]


async def test_an_answer_that_ends_ends_the_row_of_failures() -> None:
    made = fleet(engines=2, max_in_flight=50, breaker_failures=3)
    for _ in range(2):
        (await begun(made)).failed(EngineBroke("cut"))
    (await begun(made)).release()
    for _ in range(2):
        (await begun(made)).failed(EngineBroke("cut"))
    assert made.members[0].state is State.READY


async def test_a_refusal_for_being_full_is_no_failure_of_the_engine() -> None:
    made = fleet(engines=2, max_in_flight=50, breaker_failures=1)
    (await made.place(M)).failed(EngineRefused("full"))
    assert [member.state for member in made.members] == [State.READY, State.READY]


# Draining.


async def test_an_engine_on_hold_gets_nothing_new_and_ends_what_it_has() -> None:
    made = fleet(engines=2, max_in_flight=5)
    place = await made.place(M)
    made.hold(place.member, held=True)
    assert place.member.state is State.DRAINING
    made.set_state(place.member, State.READY)
    assert place.member.state is State.DRAINING
    others = [await made.place(M) for _ in range(3)]
    assert {other.member for other in others}.isdisjoint({place.member})
    place.release()
    assert place.member in made.members
    made.hold(place.member, held=False)
    assert place.member.doubted.is_set()


async def test_an_engine_that_was_sick_comes_back_with_a_small_share() -> None:
    made = fleet(engines=2, max_in_flight=100)
    made.mark_sick(made.members[0], "gone")
    made.set_state(made.members[0], State.READY)
    for _ in range(22):
        await made.place(M)
    assert in_flight(made) == [2, 20]


async def test_an_engine_that_is_gone_has_no_metrics_any_more() -> None:
    metrics = Metrics()
    made = fleet(metrics, engines=2)
    made.update([])
    assert made.members == []
    assert b"10.0.0.1" not in metrics.render()
