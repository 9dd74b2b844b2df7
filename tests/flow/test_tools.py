"""Tools through the whole gateway, with the stock openai SDK, in front of a scripted engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai.types.chat import (
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
    ChatCompletionToolParam,
)

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.flow.chat import post

pytestmark = pytest.mark.asyncio(loop_scope="module")

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: list[ChatCompletionToolParam] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": CITY, "strict": True}},
    {
        "type": "function",
        "function": {
            "name": "get_time",
            "description": "The time.",
            "strict": True,
            "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
        },
    },
]
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Rome?"}]
ROME = '{"name": "get_weather", "arguments": {"city": "Rome"}}'
ENVELOPE = f'{{"tool_calls": [{ROME}]}}'
BOTH = f'```json\n{{"tool_calls": [{ROME}, {{"name": "get_time", "arguments": {{}}}}]}}\n```'


@pytest_asyncio.fixture(loop_scope="module")
async def client(gateway: GatewayProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK as the README shows it."""
    http_client = openai.DefaultAsyncHttpxClient(trust_env=False)
    base_url = f"{gateway.base_url}/v1"
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key=gateway.key, http_client=http_client, max_retries=0
    ) as made:
        yield made


async def asked(engine: EngineProcess) -> dict[str, Any]:
    """Return the body of the engine's last request."""
    body: dict[str, Any] = json.loads((await engine.asked())[-1]["body"])
    return body


def calls_of(message: Any) -> list[tuple[str, Any]]:
    """Return name and arguments of each call of an answer."""
    calls = message.tool_calls or []
    assert all(isinstance(call, ChatCompletionMessageFunctionToolCall) for call in calls)
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls]


async def test_a_required_call_is_forced_by_a_grammar_and_comes_as_a_call(
    client: openai.AsyncOpenAI, engine: EngineProcess
) -> None:
    await engine.script("say", text=ENVELOPE)
    answer = await client.chat.completions.create(model="fake", messages=QUESTION, tools=TOOLS, tool_choice="required")
    seen = await asked(engine)
    (choice,) = answer.choices
    assert calls_of(choice.message) == [("get_weather", {"city": "Rome"})]
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == -(-len(ENVELOPE) // 4)
    assert seen["structured_outputs"]["json"]["properties"]["tool_calls"]["minItems"] == 1
    assert "get_weather" in seen["messages"][0]["content"]
    assert seen.keys().isdisjoint({"tools", "tool_choice", "parallel_tool_calls"})


async def test_a_named_tool_is_the_only_one_that_the_grammar_allows(
    client: openai.AsyncOpenAI, engine: EngineProcess
) -> None:
    await engine.script("say", text='{"tool_calls":[{"name":"get_time","arguments":{}}]}')
    answer = await client.chat.completions.create(
        model="fake", messages=QUESTION, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "get_time"}}
    )
    calls = (await asked(engine))["structured_outputs"]["json"]["properties"]["tool_calls"]
    assert calls_of(answer.choices[0].message) == [("get_time", {})]
    assert calls["maxItems"] == 1
    assert [kind["properties"]["name"] for kind in calls["items"]["anyOf"]] == [{"const": "get_time"}]


async def test_an_automatic_call_is_recognised_with_no_grammar(
    client: openai.AsyncOpenAI, engine: EngineProcess
) -> None:
    await engine.script("say", text=ENVELOPE)
    answer = await client.chat.completions.create(model="fake", messages=QUESTION, tools=TOOLS)
    assert calls_of(answer.choices[0].message) == [("get_weather", {"city": "Rome"})]
    assert "structured_outputs" not in await asked(engine)


@pytest.mark.parametrize("text", ["It is sunny.", '{"weather": "sunny"}', ENVELOPE[:-1], ' {"tool_calls": []}'])
async def test_without_a_well_formed_call_the_text_is_the_models_own(
    client: openai.AsyncOpenAI, engine: EngineProcess, text: str
) -> None:
    await engine.script("say", times=2, text=text)
    whole = await client.chat.completions.create(model="fake", messages=QUESTION, tools=TOOLS)
    async with client.chat.completions.stream(model="fake", messages=QUESTION, tools=TOOLS) as stream:
        streamed = await stream.get_final_completion()
    for answer in (whole.choices[0], streamed.choices[0]):
        assert (answer.message.content, answer.message.tool_calls, answer.finish_reason) == (text, None, "stop")


async def test_calls_in_parallel_are_put_together_by_the_sdks_stream(
    client: openai.AsyncOpenAI, engine: EngineProcess
) -> None:
    await engine.script("say", text=BOTH, piece=1)
    async with client.chat.completions.stream(
        model="fake", messages=QUESTION, tools=TOOLS, stream_options={"include_usage": True}
    ) as stream:
        done = [event async for event in stream if event.type == "tool_calls.function.arguments.done"]
        answer = await stream.get_final_completion()
    (choice,) = answer.choices
    assert calls_of(choice.message) == [("get_weather", {"city": "Rome"}), ("get_time", {})]
    assert [event.name for event in done] == ["get_weather", "get_time"]
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(BOTH)


async def test_without_parallel_calls_there_is_one(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("say", text=BOTH)
    answer = await client.chat.completions.create(
        model="fake", messages=QUESTION, tools=TOOLS, parallel_tool_calls=False
    )
    assert calls_of(answer.choices[0].message) == [("get_weather", {"city": "Rome"})]


async def test_each_of_several_choices_has_calls_of_its_own(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("say", times=2, text=ENVELOPE)
    whole = await client.chat.completions.create(
        model="fake", messages=QUESTION, tools=TOOLS, tool_choice="required", n=2
    )
    async with client.chat.completions.stream(
        model="fake", messages=QUESTION, tools=TOOLS, tool_choice="required", n=2
    ) as stream:
        streamed = await stream.get_final_completion()
    for choices in (whole.choices, streamed.choices):
        assert [calls_of(choice.message) for choice in choices] == [[("get_weather", {"city": "Rome"})]] * 2
        assert len({call.id for choice in choices for call in choice.message.tool_calls or ()}) == 2


async def test_a_turn_with_the_tools_result_is_read_by_the_model_as_text(
    client: openai.AsyncOpenAI, engine: EngineProcess
) -> None:
    await engine.script("say", text=ENVELOPE)
    first = await client.chat.completions.create(model="fake", messages=QUESTION, tools=TOOLS)
    call = (first.choices[0].message.tool_calls or [])[0]
    turn: Any = first.choices[0].message.model_dump(exclude_none=True)
    result: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": call.id, "content": '{"sun": true}'}
    second = await client.chat.completions.create(model="fake", messages=[*QUESTION, turn, result], tools=TOOLS)
    messages = (await asked(engine))["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[2]["content"] == '{"tool_calls":[{"name":"get_weather","arguments":{"city":"Rome"}}]}'
    assert messages[3]["content"] == '{"tool_result":{"call":1,"name":"get_weather","content":{"sun": true}}}'
    assert (second.choices[0].message.content or "").startswith("You said: ")


async def test_a_result_of_a_call_that_nobody_made_is_a_400(client: openai.AsyncOpenAI) -> None:
    result: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": "call_x", "content": "x"}
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="fake", messages=[*QUESTION, result], tools=TOOLS)
    assert caught.value.param == "messages[1].tool_call_id"


async def test_a_forced_call_that_max_tokens_cuts_says_so(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("say", text=ENVELOPE[:-5], reason="length")
    answer = await client.chat.completions.create(model="fake", messages=QUESTION, tools=TOOLS, tool_choice="required")
    call = (answer.choices[0].message.tool_calls or [])[0]
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Rome')
    assert answer.choices[0].finish_reason == "length"


async def test_an_engine_that_does_not_keep_to_the_grammar_is_an_error_streamed_or_not(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await engine.script("say", times=2, text="Hello there.")
    whole = await post(gateway.client, tools=TOOLS, tool_choice="required")
    streamed = await post(gateway.client, tools=TOOLS, tool_choice="required", stream=True)
    assert (whole.status_code, whole.json()["error"]["code"]) == (502, "engine_error")
    assert '"code":"engine_error"' in streamed.text
    assert "[DONE]" not in streamed.text


async def test_plain_text_is_not_kept_until_the_end(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("hold", tokens=8)
    stream = await client.chat.completions.create(model="fake", messages=QUESTION, tools=TOOLS, stream=True)
    first = await anext(aiter(stream))
    await engine.release()
    rest = [chunk async for chunk in stream]
    assert first.choices[0].delta.content
    assert rest[-1].choices[0].finish_reason
