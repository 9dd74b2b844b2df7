"""The stock openai SDK against the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes.stack import ServeProcess

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

MODEL = "gemma-3n-demo"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is a session?"}]


@pytest.fixture(scope="module")
def client(served: ServeProcess) -> Iterator[openai.OpenAI]:
    """The SDK as the README shows it."""
    with openai.OpenAI(base_url=f"{served.base_url}/v1", api_key=served.key) as made:
        yield made


def test_a_completion_has_text_usage_and_our_request_id(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=6)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    assert (answer._request_id or "").startswith("req_")


def test_a_stream_comes_token_by_token_and_ends_with_the_usage_asked_for(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=6, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    pieces = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 3
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_the_demo_answers_128_tokens_where_none_is_said(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 128
    assert answer.choices[0].finish_reason in ("stop", "length")


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_errors_are_the_sdks_own_classes_with_the_request_id(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model=MODEL, messages=MESSAGES, temperature=9)
    assert (bad.value.param, bad.value.code) == ("temperature", "invalid_value")
    assert (bad.value.request_id or "").startswith("req_")
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-5", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="gg_wrong").models.list()


PROMPTS = ["Once upon a time", "A session is a conversation that"]


def test_several_prompts_are_answered_in_their_order_and_counted_together(client: openai.OpenAI) -> None:
    alone = [client.completions.create(model=MODEL, prompt=prompt, max_tokens=4) for prompt in PROMPTS]
    whole = client.completions.create(model=MODEL, prompt=PROMPTS, n=2, max_tokens=4, echo=True)
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    assert [choice.text.startswith(PROMPTS[choice.index // 2]) for choice in whole.choices] == [True] * 4
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = client.completions.create(model=MODEL, prompt=PROMPTS, max_tokens=4, **options)
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}
    read = sum(answer.usage.prompt_tokens for answer in alone if answer.usage)
    for usage, written in ((whole.usage, 4), (last.usage, 2)):
        assert usage is not None
        assert usage.prompt_tokens == read > 0
        assert written <= usage.completion_tokens <= 4 * written


@pytest.mark.parametrize("stream", [False, True])
def test_token_ids_are_read_as_they_are_and_none_that_the_model_has_not(client: openai.OpenAI, stream: bool) -> None:
    answer = client.completions.create(model=MODEL, prompt=[2, 5, 7], max_tokens=2)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3
    with pytest.raises(openai.BadRequestError, match="vocabulary"):
        client.completions.create(model=MODEL, prompt=[2, 999_999], max_tokens=2, stream=stream)
    assert client.completions.create(model=MODEL, prompt=[2], max_tokens=2).choices
