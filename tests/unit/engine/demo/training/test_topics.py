"""Which topics come up, and how often."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from engine.demo.training.topics import known, topics

DRAWS = 20_000


@pytest.mark.parametrize("name", ["facts.txt", "small_talk.txt"])
def test_a_topic_comes_up_as_often_as_there_are_ways_to_ask_for_it(name: str) -> None:
    rng = Random(1)
    found = Counter(known(rng, name).answer for _ in range(DRAWS))
    listed = topics(name)
    ways = {topic.answer: len(topic.nouns) + len(topic.actions) + len(topic.questions) for topic in listed}
    assert len(ways) == len(listed)
    for answer, count in ways.items():
        expected = DRAWS * count / sum(ways.values())
        assert abs(found[answer] - expected) < 5 * expected**0.5, answer
