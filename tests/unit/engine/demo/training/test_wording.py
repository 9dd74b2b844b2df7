"""Plain sentences become what people type, and stay what they say."""

from __future__ import annotations

from random import Random

import pytest

from engine.demo.training.wording import _hasty


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
