"""Counting and lists: the answer is what the question asks for."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from engine.demo.training import counting


def asked(way: Callable[[Random], tuple[str, str]], count: int = 300) -> list[tuple[str, list[str]]]:
    rng = Random(1)
    made = (way(rng) for _ in range(count))
    return [(question.lower(), answer.split(", ")) for question, answer in made]


def steps(answer: list[str]) -> set[int]:
    numbers = [int(each) for each in answer]
    return {second - first for first, second in pairwise(numbers)}


@pytest.mark.parametrize("way", [counting._steps, counting._steps_back, counting._multiples, counting._even_or_odd])
def test_numbers_are_one_step_apart(way: Callable[[Random], tuple[str, str]]) -> None:
    assert all(len(steps(answer)) == 1 for _, answer in asked(way))


def test_even_and_odd_numbers_are_so_and_within_what_was_asked() -> None:
    for question, answer in asked(counting._even_or_odd):
        limit = int(re.findall(r"\d+", question)[-1])
        numbers = [int(each) for each in answer]
        assert {number % 2 for number in numbers} == {0 if "even" in question else 1}
        assert limit - 2 <= numbers[-1] < limit + ("below" not in question)


def test_who_counts_back_ends_with_the_step() -> None:
    for _, answer in asked(counting._steps_back):
        assert int(answer[-1]) == int(answer[-2]) - int(answer[-1])


def test_a_part_of_a_list_is_a_run_of_it_or_of_its_reverse() -> None:
    joined = [", ".join(each.items) for each in counting.lists()]
    joined += [", ".join(reversed(each.items)) for each in counting.lists()]
    assert all(any(", ".join(answer) in whole for whole in joined) for _, answer in asked(counting._list_part))


def test_the_beginning_of_a_list_is_continued_in_one_way_to_its_end() -> None:
    rests: dict[str, set[str]] = {}
    for listed in counting.lists():
        for told in (listed.items[at : at + 3] for at in range(len(listed.items) - 3)):
            rests.setdefault(", ".join(told), set()).add(", ".join(counting._rest(told)))
    assert all(len(found) == 1 for found in rests.values())
    assert rests["Monday, Tuesday, Wednesday"] == {"Thursday, Friday, Saturday, Sunday"}
    continued = {answer[-1] for _, answer in asked(counting._list_continued, 2000)}
    assert continued <= {listed.items[-1] for listed in counting.lists()}
    assert "Friday" not in continued


def test_the_one_after_and_the_one_before() -> None:
    told = dict(asked(counting._after, 3000))
    assert {"tuesday"} == {answer[0].lower() for question, answer in told.items() if "after monday" in question}
    assert {"monday"} == {answer[0].lower() for question, answer in told.items() if "before tuesday" in question}


def test_a_list_has_no_entry_twice_and_at_least_two() -> None:
    for listed in counting.lists():
        assert len(set(listed.items)) == len(listed.items) > 1, listed.name


def test_no_mark_of_a_template_is_left() -> None:
    for question, answer in asked(counting.counted, 3000):
        assert not re.search(r"[{}\[\]|\x00\x01]", question + "".join(answer)), question
