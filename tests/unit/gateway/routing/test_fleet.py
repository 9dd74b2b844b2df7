"""Places at engines: counted exactly, given in order, and never lost, whoever leaves when."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from config import Settings
from gateway.domain import Demand
from gateway.errors import (
    Overloaded,
)
from gateway.routing import Fleet, Member, Place
from gateway.routing.listing import Listing, replica_of
from gateway.routing.member import State
from gateway.telemetry.metrics import Metrics
from tests.unit.gateway.routing.fleets import MODELS, M, fleet, in_flight, turn, waiting

# Which engines there are.


@pytest.mark.parametrize(
    ("url", "name", "host", "port", "socket"),
    [
        ("http://10.0.0.1:8100", "10.0.0.1:8100", "10.0.0.1", 8100, None),
        ("http://10.0.0.1:8100/", "10.0.0.1:8100", "10.0.0.1", 8100, None),
        ("http://gpu-0.engines.svc", "gpu-0.engines.svc:80", "gpu-0.engines.svc", 80, None),
        ("http://[::1]:8100", "[::1]:8100", "::1", 8100, None),
        ("unix:///run/engine.sock", "/run/engine.sock", "localhost", 80, "/run/engine.sock"),
    ],
)
def test_an_engine_is_named_by_where_it_is(url: str, name: str, host: str, port: int, socket: str | None) -> None:
    replica = replica_of(url)
    assert (replica.name, replica.host, replica.port, replica.unix_socket) == (name, host, port, socket)


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        ("http://10.0.0.1:8100", "http://10.0.0.1:8100"),
        ("http://[::1]:8100", "http://[::1]:8100"),
        ("unix:///run/engine.sock", "http://localhost:80"),
    ],
)
def test_the_control_plane_reaches_an_engine_by_a_url(url: str, base_url: str) -> None:
    assert replica_of(url).base_url == base_url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "10.0.0.1:8100",
        "https://h:1",
        "http://",
        "http://h:1/v1",
        "http://h:x",
        "unix://",
        "ftp://h",
        "http://h:99999",
    ],
)
def test_what_is_no_engines_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        replica_of(url)


@pytest.mark.parametrize(("host", "name"), [("127.0.0.1", "127.0.0.1:8100"), ("::1", "[::1]:8100")])
def test_without_engines_set_the_one_of_this_machine_is_asked(host: str, name: str) -> None:
    made = Fleet(Settings.model_validate({"engine": {"host": host}}), Metrics())
    assert [member.replica.name for member in made.members] == [name]


@pytest.mark.parametrize(
    ("engine", "routing", "limit"),
    [
        ({}, {"max_in_flight": 7}, 7),
        ({"max_queued_requests": 9}, {}, 9),
        ({"max_num_seqs": 5}, {}, 10),
    ],
)
async def test_an_engine_gets_as_many_requests_as_it_queues(
    engine: dict[str, Any], routing: dict[str, Any], limit: int
) -> None:
    made = Fleet(Settings.model_validate({"engine": engine, "routing": {"max_queued": 0, **routing}}), Metrics())
    made.learned(made.members[0], MODELS)
    made.set_state(made.members[0], State.READY)
    for _ in range(limit):
        await made.place(M)
    with pytest.raises(Overloaded):
        await made.place(M)


def test_before_an_engine_has_answered_the_expected_model_is_known() -> None:
    made = fleet(engines=2, ready=False)
    assert made.models == {"gemma-3n"}
    made.learned(made.members[0], frozenset({"a", "b"}))
    made.learned(made.members[1], frozenset({"c"}))
    assert made.models == {"a", "b", "c"}


def test_until_every_engine_has_said_what_it_serves_any_model_may_be_one_of_theirs() -> None:
    made = fleet(engines=2, ready=False)
    for member in made.members:
        with pytest.raises(Overloaded, match="answered yet"):
            made.check_models_known()
        made.learned(member, MODELS)
    made.check_models_known()
    made.mark_sick(made.members[0], "gone")
    made.check_models_known()


def test_an_engine_that_says_that_it_serves_nothing_has_answered() -> None:
    made = fleet(ready=False)
    made.learned(made.members[0], frozenset())
    made.check_models_known()


def test_an_engine_that_is_not_listed_any_more_need_not_say_what_it_serves() -> None:
    made = fleet(engines=2, ready=False)
    first, second = made.members
    made.learned(first, MODELS)
    second.in_flight = 1
    made.update([Listing(first.replica)])
    made.check_models_known()
    made.update([])
    with pytest.raises(Overloaded):
        made.check_models_known()


def test_a_fleet_is_ready_when_one_engine_is() -> None:
    made = fleet(engines=2, ready=False)
    seen = [made.ready]
    made.set_state(made.members[1], State.READY)
    seen.append(made.ready)
    made.mark_sick(made.members[1], "gone")
    assert [*seen, made.ready] == [False, True, False]


# Places.


async def test_a_place_is_counted_until_it_is_released_once() -> None:
    made = fleet(max_in_flight=5)
    first, second = await made.place(M), await made.place(M)
    assert in_flight(made) == [2]
    for _ in range(3):
        first.release()
    assert in_flight(made) == [1]
    second.release()
    assert in_flight(made) == [0]


async def test_several_gateways_give_an_engine_together_what_one_would() -> None:
    fleets = [fleet(max_in_flight=6, max_queued=0) for _ in range(3)]
    for made in fleets:
        made.share_with(3)
        for _ in range(2):
            await made.place(M)
        with pytest.raises(Overloaded):
            await made.place(M)
    assert [in_flight(made) for made in fleets] == [[2], [2], [2]]


async def test_who_waits_gets_the_part_of_a_gateway_that_is_gone() -> None:
    made = fleet(max_in_flight=4)
    made.share_with(2)
    waits = [asyncio.create_task(made.place(M)) for _ in range(5)]
    await turn()
    assert (in_flight(made), waiting(made)) == ([2], 3)
    made.share_with(1)
    await turn()
    assert (in_flight(made), waiting(made)) == ([4], 1)
    for each in waits[:1]:
        (await each).release()
    await asyncio.gather(*waits)


async def test_requests_go_to_the_least_busy_engine() -> None:
    made = fleet(engines=3, max_in_flight=5)
    for _ in range(6):
        await made.place(M)
    assert in_flight(made) == [2, 2, 2]


async def test_an_engine_to_avoid_is_avoided() -> None:
    made = fleet(engines=2, max_in_flight=5)
    name = made.members[0].replica.name
    assert [(await made.place(M, {name})).member for _ in range(3)] == [made.members[1]] * 3


@pytest.mark.parametrize("state", [State.STARTING, State.SICK])
async def test_without_a_ready_engine_nobody_waits(state: State) -> None:
    made = fleet(ready=False)
    made.set_state(made.members[0], state)
    with pytest.raises(Overloaded, match="No engine is ready") as caught:
        await asyncio.wait_for(made.place(M), 1)
    assert caught.value.retry_after_ms
    assert waiting(made) == 0


async def test_a_model_that_no_ready_engine_serves_is_refused_at_once() -> None:
    made = fleet()
    with pytest.raises(Overloaded):
        await asyncio.wait_for(made.place(Demand("other")), 1)


async def test_places_are_given_in_the_order_of_coming() -> None:
    made = fleet()
    order: list[int] = []

    async def request(number: int) -> None:
        place = await made.place(M)
        order.append(number)
        await asyncio.sleep(0)
        place.release()

    held = await made.place(M)
    tasks = [asyncio.create_task(request(number)) for number in range(10)]
    await turn()
    assert waiting(made) == 10
    held.release()
    await asyncio.gather(*tasks)
    assert order == list(range(10))


async def test_nobody_overtakes_who_waits_for_the_same() -> None:
    made = fleet()
    held = await made.place(M)
    first = asyncio.create_task(made.place(M))
    await turn()
    held.release()
    second = asyncio.create_task(made.place(M))
    await turn()
    assert first.done()
    assert not second.done()
    first.result().release()
    (await second).release()


async def test_who_waits_for_another_engine_holds_nobody_up() -> None:
    made = fleet(engines=2)
    a, b = (member.replica.name for member in made.members)
    held = await made.place(M, {b})
    waits_for_a = asyncio.create_task(made.place(M, {b}))
    await turn()
    place = await asyncio.wait_for(made.place(M, {a}), 1)
    assert place.replica.name == b
    held.release()
    await waits_for_a


async def test_a_full_queue_for_one_engine_refuses_nobody_a_free_one() -> None:
    made = fleet(engines=2, max_queued=1)
    a, b = (member.replica.name for member in made.members)
    await made.place(M, {b})
    waits_for_a = asyncio.create_task(made.place(M, {b}))
    await turn()
    assert (await asyncio.wait_for(made.place(M, {a}), 1)).replica.name == b
    waits_for_a.cancel()


async def test_the_queue_is_bounded() -> None:
    made = fleet(max_queued=2)
    await made.place(M)
    tasks = [asyncio.create_task(made.place(M)) for _ in range(2)]
    await turn()
    with pytest.raises(Overloaded, match="overloaded") as caught:
        await asyncio.wait_for(made.place(M), 1)
    assert caught.value.retry_after_ms
    for task in tasks:
        task.cancel()


async def test_without_a_queue_a_full_engine_refuses_at_once() -> None:
    made = fleet(max_queued=0)
    place = await made.place(M)
    with pytest.raises(Overloaded):
        await asyncio.wait_for(made.place(M), 1)
    place.release()
    (await made.place(M)).release()


async def test_the_wait_for_a_place_ends() -> None:
    made = fleet(queue_seconds=0.1)
    place = await made.place(M)
    started = time.monotonic()
    with pytest.raises(Overloaded, match="in time"):
        await made.place(M)
    assert 0.09 <= time.monotonic() - started < 1
    assert waiting(made) == 0
    place.release()
    assert in_flight(made) == [0]


async def test_with_no_time_to_wait_a_full_engine_refuses_and_a_free_one_does_not() -> None:
    made = fleet(queue_seconds=0)
    place = await made.place(M)
    with pytest.raises(Overloaded):
        await made.place(M)
    place.release()
    (await made.place(M)).release()
    assert in_flight(made) == [0]


async def test_an_engine_that_becomes_ready_takes_from_the_queue() -> None:
    made = fleet(engines=2)
    made.mark_sick(made.members[1], "gone")
    await made.place(M)
    waits = asyncio.create_task(made.place(M))
    await turn()
    assert not waits.done()
    made.set_state(made.members[1], State.READY)
    assert (await waits).member is made.members[1]


async def test_an_engine_that_turns_sick_gets_nobody_from_the_queue() -> None:
    made = fleet()
    place = await made.place(M)
    waits = asyncio.create_task(made.place(M))
    await turn()
    made.mark_sick(made.members[0], "gone")
    place.release()
    await turn()
    assert not waits.done()
    assert in_flight(made) == [0]
    made.set_state(made.members[0], State.READY)
    (await waits).release()


async def test_a_sick_engine_says_why_and_its_watcher_is_woken() -> None:
    made = fleet()
    made.mark_sick(made.members[0], "The engine cannot be reached.")
    assert made.members[0].last_error == "The engine cannot be reached."
    assert made.members[0].doubted.is_set()


async def test_an_engine_that_is_starting_is_not_made_sick() -> None:
    made = fleet(ready=False)
    made.mark_sick(made.members[0], "gone")
    assert made.members[0].state is State.STARTING


# Leaving.


async def test_who_leaves_while_waiting_is_forgotten() -> None:
    made = fleet()
    place = await made.place(M)
    task = asyncio.create_task(made.place(M))
    await turn()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert waiting(made) == 0
    place.release()
    assert in_flight(made) == [0]


async def test_who_leaves_in_the_turn_in_which_its_place_is_granted_gives_it_back() -> None:
    made = fleet()
    place = await made.place(M)
    task = asyncio.create_task(made.place(M))
    await turn()
    place.release()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert in_flight(made) == [0]
    assert waiting(made) == 0


async def test_a_place_given_back_in_the_turn_in_which_a_waiter_leaves_disturbs_nobody() -> None:
    """The waiter is cancelled and has not run yet: its future must not be granted anything."""
    made = fleet()
    place = await made.place(M)
    leaving = asyncio.create_task(made.place(M))
    staying = asyncio.create_task(made.place(M))
    await turn()
    leaving.cancel()
    place.release()
    await asyncio.gather(leaving, return_exceptions=True)
    assert leaving.cancelled()
    (await asyncio.wait_for(staying, 1)).release()
    assert in_flight(made) == [0]
    assert waiting(made) == 0


@pytest.mark.parametrize("turns", range(6))
async def test_leaving_in_any_phase_leaks_no_place(turns: int) -> None:
    made = fleet()
    place = await made.place(M)

    async def request() -> None:
        mine = await made.place(M)
        try:
            await asyncio.sleep(60)
        finally:
            mine.release()

    task = asyncio.create_task(request())
    await turn()
    place.release()
    await turn(turns)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert in_flight(made) == [0]
    assert waiting(made) == 0


@pytest.mark.parametrize("seed", range(40))
async def test_any_interleaving_of_coming_leaving_and_failing_leaks_nothing(seed: int) -> None:
    """Requests come, wait, hold, leave, time out; engines fail and recover; all in an order that the seed decides."""
    chance = random.Random(seed)
    metrics = Metrics()
    limit = chance.randint(1, 3)
    made = fleet(metrics, engines=chance.randint(1, 3), max_in_flight=limit, max_queued=20, queue_seconds=0.02)

    async def request() -> None:
        avoiding = {chance.choice(made.members).replica.name} if chance.random() < 0.2 else set()
        try:
            place: Place = await made.place(M, avoiding)
        except Overloaded:
            return
        try:
            assert all(0 < each.in_flight <= limit for each in [place.member])
            await turn(chance.randint(0, 4))
        finally:
            place.release()

    tasks: list[asyncio.Task[None]] = []
    for _ in range(150):
        action = chance.random()
        if action < 0.5:
            tasks.append(asyncio.create_task(request()))
        elif action < 0.75 and tasks:
            chance.choice(tasks).cancel()
        elif action < 0.8:
            made.mark_sick(chance.choice(made.members), "gone")
        elif action < 0.9:
            made.set_state(chance.choice(made.members), State.READY)
        elif action < 0.91:
            await asyncio.sleep(0.02)
        else:
            await turn(chance.randint(1, 2))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [result for result in results if isinstance(result, Exception)] == []
    assert waiting(made) == 0
    assert in_flight(made) == [0] * len(made.members)
    sample = metrics.registry.get_sample_value
    assert sample("gateway_queued_requests") == 0
    for member in made.members:
        assert sample("gateway_replica_in_flight", {"replica": member.replica.name}) in (0, None)


async def test_the_gauges_follow() -> None:
    metrics = Metrics()
    made = fleet(metrics)
    sample = metrics.registry.get_sample_value
    replica = {"replica": "10.0.0.1:8100"}
    place = await made.place(M)
    waits = asyncio.create_task(made.place(M))
    await turn()
    assert sample("gateway_replica_ready", replica) == 1
    assert sample("gateway_replica_in_flight", replica) == 1
    assert sample("gateway_queued_requests") == 1
    made.mark_sick(made.members[0], "gone")
    assert sample("gateway_replica_ready", replica) == 0
    place.release()
    assert sample("gateway_replica_in_flight", replica) == 0
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    assert sample("gateway_queued_requests") == 0


async def test_a_member_is_known_by_its_replica() -> None:
    made = fleet(engines=2)
    assert isinstance(made.members[0], Member)
    assert len({member.replica.name for member in made.members}) == 2
