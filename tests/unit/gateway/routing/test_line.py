"""The line: who is served next, and who is given up when it is full."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import ALL_MEDIA, NO_MEDIUM, Demand
from gateway.routing.line import Line, Waiter


class _Nobody(asyncio.Future):  # type: ignore[type-arg]
    """A future that needs no loop: these tests grant nothing."""

    def __init__(self) -> None:
        pass


def waiter(tenant: str = "t", *, tokens: int = 0, weight: int = 1, priority: int = 0, model: str = "m") -> Waiter:
    """Return a request that can stand in line."""
    return Waiter(Demand(model, tenant, tokens, weight=weight, priority=priority), frozenset(), _Nobody())


def served(line: Line) -> list[str]:
    """Serve all, and return the tenants in that order."""
    order = []
    while len(line):
        first = next(iter(line))
        line.serve(first)
        order.append(first.demand.tenant)
    return order


def line_of(*waiters: Waiter) -> Line:
    """Return a line that these have joined one after another."""
    line = Line()
    for each in waiters:
        line.join(each)
    return line


def test_one_tenant_is_served_in_the_order_of_coming() -> None:
    waiters = [waiter(tokens=tokens) for tokens in (500, 1, 70)]
    line = line_of(*waiters)
    assert list(line) == waiters


def test_who_comes_with_one_request_is_next_whatever_others_have_queued() -> None:
    line = line_of(*(waiter("noisy") for _ in range(50)))
    line.serve(next(iter(line)))
    line.join(waiter("quiet"))
    assert served(line)[:2] == ["quiet", "noisy"]


def test_tenants_take_turns() -> None:
    line = line_of(*(waiter("a") for _ in range(4)), *(waiter("b") for _ in range(4)))
    assert served(line) == ["a", "b", "a", "b", "a", "b", "a", "b"]


def test_twice_the_weight_is_twice_the_share() -> None:
    line = line_of(*(waiter("a") for _ in range(60)), *(waiter("b", weight=2) for _ in range(60)))
    assert Counter(served(line)[:45]) == {"a": 15, "b": 30}


def test_long_prompts_cost_their_tenant_more() -> None:
    line = line_of(*(waiter("long", tokens=256 * 3) for _ in range(40)), *(waiter("short") for _ in range(40)))
    counts = Counter(served(line)[:25])
    assert counts["short"] == 4 * counts["long"]


def test_a_lower_priority_goes_first() -> None:
    line = line_of(waiter("a", priority=5), waiter("b", priority=0), waiter("c", priority=-1))
    assert served(line) == ["c", "b", "a"]


def test_who_leaves_is_no_more_in_line_and_may_leave_twice() -> None:
    first, second = waiter("a"), waiter("b")
    line = line_of(first, second)
    line.leave(first)
    line.leave(first)
    assert list(line) == [second]
    assert (len(line), line.lanes, line.size_of(first.demand)) == (1, 1, 0)


def test_a_request_that_left_is_not_paid_for() -> None:
    line = line_of(waiter("b"))
    gone = waiter("a", tokens=10**6)
    line.join(gone)
    line.leave(gone)
    line.join(waiter("a"))
    line.join(waiter("b"))
    assert served(line) == ["b", "a", "b"]


def test_how_many_are_ahead_is_what_would_be_served_before() -> None:
    line = line_of(*(waiter("noisy") for _ in range(10)))
    assert line.ahead_of(Demand("m", "noisy")) == 10
    assert line.ahead_of(Demand("m", "quiet")) == 1
    assert line.ahead_of(Demand("m", "quiet", priority=-1)) == 0


def test_lanes_are_by_what_engines_can_serve_them() -> None:
    line = line_of(waiter(model="x"), waiter(model="x"), waiter(model="y"))
    assert line.lanes == 2
    assert line.waits(("x", NO_MEDIUM, frozenset()))
    assert not line.waits(("x", ALL_MEDIA, frozenset()))


def test_a_full_line_gives_up_the_last_of_the_longest_queue() -> None:
    noisy = [waiter("noisy") for _ in range(5)]
    line = line_of(waiter("quiet"), *noisy)
    assert line.weakest(Demand("m", "new")) is noisy[-1]
    assert line.weakest(Demand("m", "noisy")) is None
    assert line.weakest(Demand("m", "new", priority=1)) is None


def test_a_full_line_gives_up_the_least_urgent_first() -> None:
    batch = waiter("batch", priority=10)
    line = line_of(*(waiter("noisy") for _ in range(5)), batch)
    assert line.weakest(Demand("m", "noisy")) is batch


def test_weight_counts_where_queues_are_compared() -> None:
    line = line_of(*(waiter("paid", weight=4) for _ in range(6)), *(waiter("free") for _ in range(3)))
    found = line.weakest(Demand("m", "new"))
    assert found
    assert found.demand.tenant == "free"


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "serve", "leave"]),
        st.sampled_from("abcd"),
        st.integers(0, 3000),
        st.integers(1, 4),
        st.integers(0, 2),
    ),
    max_size=80,
)


@given(ACTIONS)
def test_whatever_happens_the_counts_are_of_who_waits(actions: list[tuple[str, str, int, int, int]]) -> None:
    line, inside = Line(), []
    for action, tenant, tokens, weight, priority in actions:
        if action == "join":
            joined = waiter(tenant, tokens=tokens, weight=weight, priority=priority)
            line.join(joined)
            inside.append(joined)
        elif inside:
            one = next(iter(line)) if action == "serve" else inside[tokens % len(inside)]
            (line.serve if action == "serve" else line.leave)(one)
            inside.remove(one)
        assert sorted(line, key=id) == sorted(inside, key=id)
        assert [each.order for each in line] == sorted(each.order for each in inside)
        for each in inside:
            assert each in line
            assert line.size_of(each.demand) == sum(
                (one.demand.tenant, one.demand.priority) == (each.demand.tenant, each.demand.priority) for one in inside
            )
    for each in tuple(inside):
        line.leave(each)
    assert (len(line), line.lanes, dict(line._ends), dict(line._sizes), dict(line._weights)) == (0, 0, {}, {}, {})


def test_tenants_that_owe_nothing_are_forgotten_while_others_wait_for_ever() -> None:
    line = line_of(waiter("patient", priority=9))
    for number in range(1000):
        passing = waiter(f"t{number}")
        line.join(passing)
        line.serve(passing)
    assert len(line._ends) < 200
