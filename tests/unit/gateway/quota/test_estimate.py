"""What a request is expected to cost is learnt from counts that are whole."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import Endpoint, Prompt, Usage
from gateway.quota.estimate import Estimator

TEXT = Prompt(Endpoint.COMPLETIONS, "m", b"", True, False, (), text_bytes=3000, output_tokens_limit=20)


@given(st.integers(2, 8), st.integers(1, 1000))
def test_a_count_that_may_lack_some_of_several_prompts_says_nothing_of_a_texts_tokens(prompts: int, read: int) -> None:
    estimator = Estimator()
    several = replace(TEXT, prompts=prompts, choices=prompts)
    before = estimator.expected("t", TEXT).prompt_tokens
    estimator.learn("t", several, Usage(read, 5))
    assert estimator.expected("t", TEXT).prompt_tokens == before


@given(st.integers(1, 4), st.integers(1, 4))
def test_every_choice_of_every_prompt_may_be_as_long_as_the_limit(prompts: int, n: int) -> None:
    expected = Estimator().expected("t", replace(TEXT, prompts=prompts, choices=prompts * n))
    assert expected.output_tokens == 20 * prompts * n


def test_the_number_of_token_ids_is_what_they_cost() -> None:
    ids = replace(TEXT, text_bytes=0, counted_tokens=700)
    assert Estimator().expected("t", ids).prompt_tokens == 700
