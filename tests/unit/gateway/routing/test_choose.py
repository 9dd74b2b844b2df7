"""The choice of an engine: filter, score, pick."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import Replica
from gateway.routing.choose import choose, fits
from gateway.routing.member import Member, State

M = frozenset({"m"})


def member(name: str, in_flight: int = 0, state: State = State.READY, models: frozenset[str] = M) -> Member:
    """Return an engine as the fleet sees it."""
    return Member(Replica(name, "h", 1), state=state, models=models, in_flight=in_flight)


@pytest.mark.parametrize(
    ("members", "chosen"),
    [
        ([], None),
        ([member("a")], "a"),
        ([member("a", 1), member("b", 0)], "b"),
        ([member("b", 1), member("a", 1)], "a"),
        ([member("a", 3), member("b", 2)], "b"),
        ([member("a", 3), member("b", 3)], None),
        ([member("a", 5)], None),
        ([member("a", state=State.SICK), member("b", 2)], "b"),
        ([member("a", state=State.STARTING)], None),
        ([member("a", models=frozenset()), member("b", 2)], "b"),
        ([member("a", models=frozenset({"other"}))], None),
        ([member("avoided"), member("b", 2)], "b"),
        ([member("avoided")], None),
    ],
)
def test_the_least_busy_fit_engine_is_chosen_and_the_first_by_name_of_equals(
    members: list[Member], chosen: str | None
) -> None:
    found = choose(members, "m", {"avoided"}, max_in_flight=3)
    assert (found.replica.name if found else None) == chosen


def test_a_full_engine_still_fits() -> None:
    assert fits(member("a", 10**6), "m", ())


MEMBERS = st.lists(
    st.builds(
        member,
        st.sampled_from("abcdef"),
        st.integers(min_value=0, max_value=4),
        st.sampled_from(State),
        st.sampled_from([M, frozenset(), frozenset({"x"})]),
    ),
    max_size=6,
    unique_by=lambda each: each.replica.name,
)


@given(MEMBERS, st.sets(st.sampled_from("abcdef")), st.integers(min_value=1, max_value=4))
def test_the_choice_fits_is_not_full_and_does_not_hang_on_the_order(
    members: list[Member], avoiding: set[str], limit: int
) -> None:
    chosen = choose(members, "m", avoiding, limit)
    free = [each for each in members if fits(each, "m", avoiding) and each.in_flight < limit]
    if chosen is None:
        assert free == []
        return
    assert chosen in free
    assert chosen.in_flight == min(each.in_flight for each in free)
    assert choose(members[::-1], "m", avoiding, limit) is chosen
