"""Plain sentences become what people type, and stay what they say."""

from __future__ import annotations

from random import Random

import pytest

from engine.demo.training.wording import _hasty, reworded


@pytest.mark.parametrize(
    ("plain", "hasty"),
    [
        (
            "where is the list of models",
            {"where the list of models", "where is list of models", "where is the list models"},
        ),
        ("what is a session", {"what is a session"}),
        ("prometheus scrapes seven metrics endpoints", {"prometheus scrapes seven metrics endpoints"}),
    ],
    ids=["one small word is lost", "a short sentence stays", "without a small word it stays"],
)
def test_who_is_in_a_hurry_leaves_out_one_small_word(plain: str, hasty: set[str]) -> None:
    assert {_hasty(Random(seed), plain) for seed in range(50)} == hasty


def test_a_word_is_swapped_for_one_that_means_the_same() -> None:
    said = {reworded(Random(seed), "how do i erase the chat") for seed in range(300)}
    assert said == {f"how do i {verb} the {noun}" for verb in ("erase", "delete") for noun in ("chat", "conversation")}


def test_a_path_or_a_part_of_a_word_is_not_reworded() -> None:
    for sentence in ("what is /v1/chat/completions", "a chatty answerphone", "the superuser of /v1/list"):
        assert {reworded(Random(seed), sentence) for seed in range(100)} == {sentence}
