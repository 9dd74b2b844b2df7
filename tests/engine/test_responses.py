"""Responses from the real vLLM, through the stock SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.fakes.stack import ServeProcess

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

MODEL = "gemma-3n-demo"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Answer(BaseModel):
    """A form."""

    yes: bool


@pytest.fixture
def client(served: ServeProcess) -> Iterator[openai.OpenAI]:
    """The SDK as the README shows it."""
    with openai.OpenAI(base_url=f"{served.base_url}/v1", api_key=served.key) as made:
        yield made


def test_a_name_is_remembered_from_one_response_to_the_next(client: openai.OpenAI) -> None:
    first = client.responses.create(model=MODEL, input="My name is Ada.", temperature=0)
    second = client.responses.create(
        model=MODEL, input="What is my name?", previous_response_id=first.id, temperature=0
    )
    assert "Ada" in second.output_text
    assert second.usage is not None
    assert second.usage.input_tokens > 20


def test_a_stream_and_the_whole_are_one_and_are_those_of_a_chat(client: openai.OpenAI) -> None:
    question = "What is a session?"
    with client.responses.stream(model=MODEL, input=question, temperature=0, max_output_tokens=30) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        streamed = stream.get_final_response()
    whole = client.responses.create(model=MODEL, input=question, temperature=0, max_output_tokens=30)
    chat = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question}], temperature=0, max_completion_tokens=30
    )
    assert "".join(deltas) == streamed.output_text == whole.output_text == chat.choices[0].message.content
    assert streamed.status == whole.status
    assert whole.usage is not None
    assert chat.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (
        chat.usage.prompt_tokens,
        chat.usage.completion_tokens,
    )
    counted = client.responses.input_tokens.count(model=MODEL, input=question)
    assert counted.input_tokens == whole.usage.input_tokens


def test_forms_and_calls_are_kept_by_the_engines_grammar(client: openai.OpenAI) -> None:
    parsed = client.responses.parse(model=MODEL, input="Is the sky blue?", text_format=Answer, temperature=0)
    assert isinstance(parsed.output_parsed, Answer)
    called = client.responses.create(
        model=MODEL, input="The weather in Rome?", tools=[WEATHER], tool_choice="required", parallel_tool_calls=False
    )
    (call,) = called.output
    assert call.type == "function_call"
    assert json.loads(call.arguments)["city"] in ("Rome", "Oslo")
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": '{"sky": "clear"}'}
    told = client.responses.create(model=MODEL, input=[result], tools=[WEATHER], previous_response_id=called.id)
    assert told.output


def test_log_probabilities_come_with_the_text(client: openai.OpenAI) -> None:
    asked: Any = {"model": MODEL, "input": "What is a session?", "top_logprobs": 2, "max_output_tokens": 5}
    whole = client.responses.create(**asked, include=["message.output_text.logprobs"])
    part = whole.output[0].content[0]
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert "".join(each.token for each in part.logprobs) == part.text
    assert all(each.logprob <= 0 and len(each.top_logprobs) == 2 for each in part.logprobs)
    deltas = [event for event in client.responses.create(**asked, stream=True) if "text.delta" in event.type]
    assert sum(len(event.logprobs) for event in deltas) == 5
