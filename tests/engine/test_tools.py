"""Tools on the real engine: what the grammar promises, it keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageFunctionToolCall, ChatCompletionToolParam

from tests.fakes.stack import ServeProcess

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

MODEL = "gemma-3n-demo"
CITIES = ["Rome", "Oslo", "Lima"]
# The demo model is small: what has no bound here, it may write until max_tokens.
PLACE = {
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/City"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
    "$defs": {"City": {"type": "string", "enum": CITIES}},
}
TOOLS: list[ChatCompletionToolParam] = [
    {"type": "function", "function": {"name": name, "parameters": PLACE, "strict": True}}
    for name in ("get_weather", "get_forecast")
]


@pytest.fixture(scope="module")
def client(served: ServeProcess) -> Iterator[openai.OpenAI]:
    """The SDK as the README shows it."""
    with openai.OpenAI(base_url=f"{served.base_url}/v1", api_key=served.key) as made:
        yield made


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_required_call_is_one_of_an_offered_tool_with_arguments_that_fit(client: openai.OpenAI, seed: int) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the weather in Rome?"}],
        tools=TOOLS,
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=256,
        temperature=1,
        seed=seed,
    )
    (choice,) = answer.choices
    (call,) = [
        each for each in choice.message.tool_calls or [] if isinstance(each, ChatCompletionMessageFunctionToolCall)
    ]
    arguments = json.loads(call.function.arguments)
    assert choice.finish_reason == "tool_calls"
    assert call.function.name in ("get_weather", "get_forecast")
    assert arguments.keys() == {"city", "unit"}
    assert arguments["city"] in CITIES
    assert arguments["unit"] in ("C", "F")


def test_a_named_call_streams_into_the_sdks_own_shape(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the weather in Rome?"}],
        tools=TOOLS,
        tool_choice={"type": "function", "function": {"name": "get_forecast"}},
        max_tokens=256,
    ) as stream:
        choice = stream.get_final_completion().choices[0]
    (call,) = choice.message.tool_calls or []
    assert (call.function.name, choice.finish_reason) == ("get_forecast", "tool_calls")
    assert json.loads(call.function.arguments)["city"] in CITIES
