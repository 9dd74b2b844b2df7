"""The choice of an engine: filter, score, pick."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.routing import RoutingPolicy
from gateway.domain import ALL_MEDIA, NO_MEDIUM, Demand, Medium, Replica
from gateway.routing.choose import Bounds, choose, fits, has_room, refused_media
from gateway.routing.engine_load import EngineLoad
from gateway.routing.member import Member, State

M = frozenset({"m"})
ANY = Demand("m")
IMAGES = frozenset({Medium.IMAGE})


def member(name: str, in_flight: int = 0, state: State = State.READY, models: frozenset[str] = M) -> Member:
    """Return an engine as the fleet sees it."""
    return Member(Replica(name, "h", 1), state=state, models=models, in_flight=in_flight)


@given(st.integers(1, 10_000), st.integers(1, 10_000_000), st.integers(1, 100))
def test_gateways_share_what_an_engine_is_given_and_none_is_left_without(
    requests: int, tokens: int, gateways: int
) -> None:
    shared = Bounds(requests, tokens, 1.5).shared_by(gateways)
    assert 0 <= shared.max_in_flight * gateways - requests < gateways
    assert 0 <= shared.max_prefill_tokens * gateways - tokens < gateways
    assert min(shared.max_in_flight, shared.max_prefill_tokens) >= 1
    assert shared.load_factor == 1.5


@pytest.mark.parametrize(("gateways", "tokens"), [(1, 100), (2, 50), (3, 40), (99, 40)])
def test_the_longest_prompt_fits_a_gateways_part(gateways: int, tokens: int) -> None:
    assert Bounds(9, 100, longest_prompt_tokens=40).shared_by(gateways).max_prefill_tokens == tokens
    assert Bounds(9, 30, longest_prompt_tokens=40).shared_by(gateways).max_prefill_tokens <= 30


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
    found = choose(members, ANY, {"avoided"}, Bounds(3, 1000))
    assert (found.replica.name if found else None) == chosen


def test_a_full_engine_still_fits() -> None:
    assert fits(member("a", 10**6), ANY, ())


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
    chosen = choose(members, ANY, avoiding, Bounds(limit, 1000))
    free = [each for each in members if fits(each, ANY, avoiding) and each.in_flight < limit]
    if chosen is None:
        assert free == []
        return
    assert chosen in free
    assert chosen.in_flight == min(each.in_flight for each in free)
    assert choose(members[::-1], ANY, avoiding, Bounds(limit, 1000)) is chosen


# Room, media and policies.


@pytest.mark.parametrize(
    ("prefill_tokens", "asked_tokens", "has"),
    [(0, 10**6, True), (400, 600, True), (401, 600, False), (1, 1000, False)],
)
def test_a_prompt_that_is_alone_is_never_too_long_and_others_share_the_bound(
    prefill_tokens: int, asked_tokens: int, has: bool
) -> None:
    engine = member("a")
    engine.prefill_tokens = prefill_tokens
    assert has_room(engine, Demand("m", prefill_tokens=asked_tokens), Bounds(3, 1000)) is has


def test_media_need_an_engine_that_takes_them() -> None:
    text_only, both = member("a"), member("b", 2)
    text_only.stated_media = False
    chosen = choose([text_only, both], Demand("m", media=ALL_MEDIA), (), Bounds(3, 1000))
    assert chosen is both


@pytest.mark.parametrize(
    ("stated", "learnt", "takes"),
    [
        (None, None, ALL_MEDIA),
        (None, IMAGES, IMAGES),
        (None, NO_MEDIUM, NO_MEDIUM),
        (True, NO_MEDIUM, ALL_MEDIA),
        (False, ALL_MEDIA, NO_MEDIUM),
    ],
)
def test_an_engine_takes_what_its_source_says_else_what_it_says_itself(
    stated: bool | None, learnt: frozenset[Medium] | None, takes: frozenset[Medium]
) -> None:
    engine = member("a")
    engine.stated_media, engine.learnt_media = stated, learnt
    assert engine.media == takes
    assert fits(engine, Demand("m", media=IMAGES), ()) is (Medium.IMAGE in takes)
    assert fits(engine, Demand("m"), ())


def test_media_are_refused_for_good_only_where_no_engine_of_the_model_may_take_them() -> None:
    blind, seeing, unseen = member("a"), member("b", 2), member("c", 3)
    blind.learnt_media, seeing.learnt_media = NO_MEDIUM, IMAGES
    both = Demand("m", media=ALL_MEDIA)
    assert refused_media([blind], both) == ALL_MEDIA
    assert refused_media([blind, seeing], both) == {Medium.AUDIO}
    assert refused_media([blind, seeing], Demand("m", media=IMAGES)) == NO_MEDIUM
    assert refused_media([blind], Demand("m")) == NO_MEDIUM
    assert refused_media([blind], Demand("other", media=IMAGES)) == NO_MEDIUM
    seeing.state = State.SICK
    assert refused_media([blind, seeing], Demand("m", media=IMAGES)) == NO_MEDIUM
    unseen.models = frozenset()
    assert refused_media([blind, unseen], both) == NO_MEDIUM


def test_where_each_medium_has_its_own_engine_a_request_with_both_has_none() -> None:
    seeing, hearing = member("a"), member("b", 2)
    seeing.learnt_media, hearing.learnt_media = IMAGES, frozenset({Medium.AUDIO})
    assert refused_media([seeing, hearing], Demand("m", media=ALL_MEDIA)) == ALL_MEDIA


def test_turns_go_round() -> None:
    members = [member("a"), member("b"), member("c")]
    bounds, policy = Bounds(3, 1000), RoutingPolicy.ROUND_ROBIN
    names = [chosen.replica.name for turn in range(6) if (chosen := choose(members, ANY, (), bounds, policy, turn))]
    assert names == ["a", "b", "c", "a", "b", "c"]


@pytest.mark.parametrize(
    ("change", "chosen"),
    [
        ({"in_flight": 1}, "b"),
        ({"prefill_tokens": 2000}, "b"),
        ({"others": 3}, "b"),
        ({"load": EngineLoad(kv_cache_use=0.5)}, "b"),
        ({"share": 0.1}, "a"),
    ],
)
def test_the_least_loaded_has_the_least_of_requests_prompts_others_and_cache(
    change: dict[str, object], chosen: str
) -> None:
    members = [member("a"), member("b")]
    for name, given_value in change.items():
        setattr(members[0], name, given_value)
    found = choose(members, Demand("m", home=5), (), Bounds(9, 10**6), RoutingPolicy.LEAST_LOADED)
    assert found
    assert found.replica.name == chosen


def test_an_engine_of_twice_the_weight_gets_twice_the_requests() -> None:
    members = [member("a"), member("b")]
    members[1].weight = 2
    for _ in range(300):
        chosen = choose(members, ANY, (), Bounds(1000, 1000))
        assert chosen
        chosen.in_flight += 1
    assert [each.in_flight for each in members] == [100, 200]


# Homes.

CHANCE = random.Random(7)
HOMES = [CHANCE.getrandbits(64) | 1 for _ in range(1500)]


def homes(members: list[Member]) -> list[str]:
    """Return where each home is while nobody has anything to do."""
    chosen = [choose(members, Demand("m", home=home), (), Bounds(9, 1000)) for home in HOMES]
    return [each.replica.name for each in chosen if each]


@given(st.lists(st.integers(min_value=0, max_value=10**6), min_size=2, max_size=9, unique=True))
@settings(max_examples=25, deadline=None)
def test_an_engine_more_takes_its_share_of_homes_and_moves_no_other(numbers: list[int]) -> None:
    members = [member(f"10.0.0.{number}:8100") for number in numbers]
    before, after = homes(members[:-1]), homes(members)
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert {new for _, new in moved} <= {members[-1].replica.name}
    share = 1 / len(members)
    assert abs(len(moved) / len(HOMES) - share) < 0.05


def test_homes_are_spread_by_weight() -> None:
    members = [member(f"10.0.0.{number}:8100") for number in range(4)]
    members[0].weight = 3
    share = Counter(homes(members))[members[0].replica.name] / len(HOMES)
    assert abs(share - 0.5) < 0.05


def test_a_conversation_stays_at_home_until_that_has_more_than_its_share() -> None:
    members = [member("a"), member("b")]
    demand, bounds = Demand("m", home=HOMES[0]), Bounds(1000, 10**6, load_factor=1.25)
    at_home = choose(members, demand, (), bounds)
    assert at_home
    other = next(each for each in members if each is not at_home)
    at_home.in_flight, other.in_flight = 3, 0
    assert choose(members, demand, (), bounds) is at_home
    at_home.in_flight, other.in_flight = 50, 40
    assert choose(members, demand, (), bounds) is at_home
    at_home.in_flight, other.in_flight = 60, 30
    assert choose(members, demand, (), bounds) is other


def test_a_home_whose_cache_is_full_or_that_has_no_room_is_left() -> None:
    members = [member("a"), member("b")]
    demand, bounds = Demand("m", home=HOMES[0]), Bounds(4, 10**6)
    at_home = choose(members, demand, (), bounds)
    assert at_home
    at_home.load = EngineLoad(kv_cache_use=0.97)
    assert choose(members, demand, (), bounds) is not at_home
    at_home.load = EngineLoad()
    at_home.in_flight = 4
    assert choose(members, demand, (), bounds) is not at_home


def test_an_engine_that_comes_back_slowly_is_given_little_of_what_is_its_own() -> None:
    members = [member("a", 5), member("b", 5)]
    at_home = choose(members, Demand("m", home=HOMES[0]), (), Bounds(100, 10**6))
    assert at_home
    at_home.share = 0.1
    assert choose(members, Demand("m", home=HOMES[0]), (), Bounds(100, 10**6)) is not at_home


@given(MEMBERS, st.integers(min_value=1, max_value=2**64 - 1), st.floats(min_value=1, max_value=3))
def test_with_a_home_some_free_engine_is_always_found(members: list[Member], home: int, factor: float) -> None:
    demand, bounds = Demand("m", home=home), Bounds(4, 1000, factor)
    free = [each for each in members if fits(each, demand, ()) and each.in_flight < 4]
    chosen = choose(members, demand, (), bounds)
    assert (chosen in free) if free else chosen is None
    if chosen:
        assert choose(members[::-1], demand, (), bounds) is chosen
