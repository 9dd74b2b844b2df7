"""Forms: every value of the object stands in the message, as a text, a list of them, or in words that say yes or no."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from engine.demo.training.forms import _with_keys, form_filled, members
from engine.demo.training.grammar import phrases

MOODS = {"positive", "negative"}


def stands_in(value: Any, message: str) -> bool:
    if isinstance(value, bool) or str(value) in MOODS:
        return True
    values = value if isinstance(value, list) else [value]
    return all(str(each) in message for each in values)


def filled(count: int) -> list[tuple[str, dict[str, Any]]]:
    rng = Random(1)
    made = (form_filled(rng) for _ in range(count))
    return [(message, json.loads(answer)) for message, answer in made]


def test_the_values_of_a_form_stand_in_the_message() -> None:
    for message, values in filled(2000):
        assert values
        assert all(stands_in(value, message) for value in values.values()), message


def test_two_values_do_not_share_a_name() -> None:
    found = {"film": "Alien", "name": "Ada"}
    made = [json.loads(_with_keys(Random(seed), "Alien is a film by Ada", dict(found))[1]) for seed in range(200)]
    assert all(sorted(values.values()) == ["Ada", "Alien"] for values in made)


def test_an_article_goes_with_its_value() -> None:
    wrong = re.compile(r"\ba [aeio]|(?<!')\ban [^aeioAEIOu]")
    assert [message for message, _ in filled(5000) if wrong.search(message)] == []


def test_no_mark_of_a_template_is_left_in_a_message() -> None:
    assert [message for message, _ in filled(2000) if re.search(r"[{}\[\]|<]", message)] == []


def test_there_are_numbers_texts_lists_and_truths() -> None:
    kinds = {type(value) for _, values in filled(1000) for value in values.values()}
    assert kinds == {str, int, float, bool, list}


def test_a_list_has_no_entry_twice() -> None:
    lists = [value for _, values in filled(2000) for value in values.values() if isinstance(value, list)]
    assert lists
    assert all(len(set(value)) == len(value) for value in lists)


def test_a_truth_is_what_the_sentence_says() -> None:
    told = [(message, values["has_stock"]) for message, values in filled(20_000) if "has_stock" in values]
    no = re.compile("sold out|out of stock|not in stock")
    assert told
    assert all(yes != bool(no.search(message.lower())) for message, yes in told)


def test_every_kind_in_a_sentence_has_names() -> None:
    kinds = {kind for line in phrases("form_sentences") for kind in re.findall(r"[{<]!?(\w+)[}>]", line)}
    assert kinds <= members().keys()
