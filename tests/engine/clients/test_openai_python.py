"""The stock openai SDK for Python against the real engine: what only a real model can show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tests.fakes.stack import ServeProcess

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

MODEL = "gemma-3n-demo"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is a session?"}]


class Weather(BaseModel):
    """The weather of a city. The demo model has random weights: what had no bound here, it would write for ever."""

    city: Literal["Rome", "Oslo"]
    unit: Literal["C", "F"]


@pytest.fixture(scope="module")
def client(served: ServeProcess) -> Iterator[openai.OpenAI]:
    """The synchronous SDK."""
    with openai.OpenAI(base_url=f"{served.base_url}/v1", api_key=served.key) as made:
        yield made


def test_the_stream_helper_ends_with_the_whole_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=24, temperature=0)
    text = whole.choices[0].message.content or ""
    # The helper raises for an answer that was cut at its length, so this one is ended by a text.
    stop = text[-4:]
    with client.chat.completions.stream(
        model=MODEL, messages=MESSAGES, max_tokens=24, temperature=0, stop=[stop]
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert len(deltas) > 3
    assert "".join(deltas) == final.choices[0].message.content == text[: text.index(stop)]


async def test_the_asynchronous_client_streams_with_usage(served: ServeProcess) -> None:
    async with openai.AsyncOpenAI(base_url=f"{served.base_url}/v1", api_key=served.key) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=6, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 6


def test_n_gives_as_many_choices_and_counts_them_all(client: openai.OpenAI) -> None:
    # Neither `<eos>` nor `<end_of_turn>`: each choice is as long as it may be.
    answer = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=8, n=3, temperature=2, seed=1, logit_bias={"1": -100, "5": -100}
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 24


def test_a_seed_makes_an_answer_repeatable(client: openai.OpenAI) -> None:
    def said(seed: int) -> str | None:
        # The demo model is sure of what it says, unless it is asked to be wild.
        answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=16, temperature=2, seed=seed)
        return answer.choices[0].message.content

    assert said(11) == said(11)
    assert said(11) != said(12)


def test_logprobs_come_with_every_token_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=6, logprobs=True, top_logprobs=3, temperature=0
    )
    assert whole.choices[0].logprobs is not None
    tokens = whole.choices[0].logprobs.content or []
    assert len(tokens) == 6
    assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in tokens)
    streamed: list[str] = []
    for chunk in client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=6, logprobs=True, top_logprobs=3, temperature=0, stream=True
    ):
        logprobs = chunk.choices[0].logprobs
        streamed += [token.token for token in (logprobs.content or [])] if logprobs else []
    assert streamed == [token.token for token in tokens]


def test_a_stop_text_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=24, temperature=0)
    text = whole.choices[0].message.content or ""
    stop = text[len(text) // 2 :][:3]
    cut = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=24, temperature=0, stop=[stop])
    assert cut.choices[0].finish_reason == "stop"
    assert cut.choices[0].message.content == text[: text.index(stop)]


def test_a_prompt_longer_than_the_context_is_openais_own_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "word " * 40_000}], max_tokens=4
        )
    assert caught.value.code == "context_length_exceeded"
    assert (caught.value.request_id or "").startswith("req_")


def test_parse_returns_an_instance_of_the_model_asked_for_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.chat.completions.parse(model=MODEL, messages=MESSAGES, response_format=Weather, max_tokens=68)
    assert isinstance(whole.choices[0].message.parsed, Weather)
    with client.chat.completions.stream(
        model=MODEL, messages=MESSAGES, response_format=Weather, max_tokens=68
    ) as stream:
        final = stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Weather)
