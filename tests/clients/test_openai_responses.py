"""The stock openai SDK's Responses API: created, streamed, gone on from, read, listed and deleted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai.types.responses import Response, ResponseFunctionToolCall
from pydantic import BaseModel

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "fake"
TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
CALLED = '{"tool_calls":[{"name":"get_weather","arguments":{"city":"Rome"}}]}'


class Town(BaseModel):
    """What a parsed answer is read into."""

    name: str


@pytest_asyncio.fixture(loop_scope="module")
async def client(gateway: GatewayProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK, which tries nothing twice: what is asked is counted."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


async def seen(engine: EngineProcess) -> dict[str, Any]:
    """Return the last body that the engine was sent."""
    body: dict[str, Any] = json.loads((await engine.asked())[-1]["body"])
    return body


async def test_a_text_is_answered_with_a_text(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    response = await client.responses.create(
        model=MODEL,
        input="one two",
        instructions="Be brief.",
        max_output_tokens=9,
        temperature=0.5,
        metadata={"a": "b"},
    )
    assert response.output_text == "You said: one two"
    assert (response.status, response.error, response.incomplete_details) == ("completed", None, None)
    assert response.id == f"resp_{(response._request_id or '').removeprefix('req_')}"
    assert (response.metadata, response.instructions, response.temperature) == ({"a": "b"}, "Be brief.", 0.5)
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    body = await seen(engine)
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one two"}]
    assert (body["max_completion_tokens"], body["temperature"]) == (9, 0.5)
    assert body.keys().isdisjoint({"instructions", "input", "metadata", "store", "text"})


async def test_a_stream_tells_every_step_and_adds_up_to_the_whole(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(model=MODEL, input="one two") as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    kinds = [event.type for event in events]
    deltas = kinds.count("response.output_text.delta")
    assert kinds == [
        *("response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"),
        *["response.output_text.delta"] * deltas,
        *("response.output_text.done", "response.content_part.done", "response.output_item.done"),
        "response.completed",
    ]
    assert deltas > 1
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == "You said: one two"
    assert final.usage is not None
    whole = await client.responses.retrieve(final.id)
    assert whole.output_text == final.output_text
    assert whole.usage == final.usage


async def test_a_plain_stream_says_what_the_helper_says(client: openai.AsyncOpenAI) -> None:
    stream = await client.responses.create(model=MODEL, input="one two", stream=True)
    text = "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])
    assert text == "You said: one two"


async def test_a_response_goes_on_from_another_and_two_may_go_on_from_one(
    client: openai.AsyncOpenAI, engine: EngineProcess
) -> None:
    first = await client.responses.create(model=MODEL, input="one", instructions="Only here.")
    second = await client.responses.create(model=MODEL, input="two", previous_response_id=first.id)
    for last in ("three", "four"):
        third = await client.responses.create(model=MODEL, input=last, previous_response_id=second.id)
        assert third.previous_response_id == second.id
        assert (await seen(engine))["messages"] == [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "You said: one"},
            {"role": "user", "content": "two"},
            {"role": "assistant", "content": "You said: two"},
            {"role": "user", "content": last},
        ]


async def test_a_tool_is_called_and_its_result_is_answered(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("say", text=CALLED)
    first = await client.responses.create(model=MODEL, input="Rome?", tools=[TOOL], tool_choice="required")
    (call,) = first.output
    assert isinstance(call, ResponseFunctionToolCall)
    assert (call.name, call.arguments) == ("get_weather", '{"city":"Rome"}')
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": '{"sun": true}'}
    by_id = await client.responses.create(model=MODEL, input=[result], previous_response_id=first.id)
    kept = (await seen(engine))["messages"]
    assert '{"tool_result":{"call":1,"name":"get_weather","content":{"sun": true}}}' in kept[-1]["content"]
    question: Any = {"role": "user", "content": "Rome?"}
    sent = [question, call.model_dump(exclude_none=True), result]
    by_items = await client.responses.create(model=MODEL, input=sent, store=False)
    assert (await seen(engine))["messages"] == kept
    assert by_id.output_text == by_items.output_text


async def test_a_streamed_call_is_told_in_parts(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("say", text=CALLED)
    async with client.responses.stream(model=MODEL, input="Rome?", tools=[TOOL], tool_choice="required") as stream:
        events = [event async for event in stream]
    (done,) = [event for event in events if event.type == "response.function_call_arguments.done"]
    parts = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert done.arguments == "".join(parts) == '{"city":"Rome"}'
    assert events[-1].type == "response.completed"


async def test_an_answer_has_the_form_asked_for(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("say", text='{"name": "Oslo"}')
    response = await client.responses.parse(model=MODEL, input="A town.", text_format=Town)
    assert response.output_parsed == Town(name="Oslo")
    form = (await seen(engine))["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"]["required"] == ["name"]


async def test_an_answer_that_is_cut_at_its_limit_says_so(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    await engine.script("say", text="one two", reason="length", times=2)
    response = await client.responses.create(model=MODEL, input="long")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    stream = await client.responses.create(model=MODEL, input="long", stream=True)
    assert [event.type async for event in stream][-1] == "response.incomplete"


async def test_an_engine_that_dies_in_a_stream_raises_and_nothing_is_kept(
    client: openai.AsyncOpenAI, engine: EngineProcess
) -> None:
    await engine.script("cut_mid_stream", chunks=3)
    stream = await client.responses.create(model=MODEL, input="one two", stream=True)
    begun = await anext(stream)
    assert begun.type == "response.created"
    with pytest.raises(openai.APIError, match="was cut off"):
        [event async for event in stream]
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(begun.response.id)


async def test_what_is_kept_can_be_read_listed_and_deleted(client: openai.AsyncOpenAI) -> None:
    parts: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "one"}]},
        {"role": "assistant", "content": "so?"},
        {"role": "user", "content": "two"},
    ]
    made = await client.responses.create(model=MODEL, input=parts)
    assert (await client.responses.retrieve(made.id)).model_dump() == made.model_dump()
    items = [item.model_dump() async for item in client.responses.input_items.list(made.id, limit=2, order="asc")]
    assert [item["content"][0]["text"] for item in items] == ["one", "so?", "two"]
    assert len({item["id"] for item in items}) == 3
    await client.responses.delete(made.id)
    for gone in (client.responses.retrieve(made.id), client.responses.delete(made.id)):
        with pytest.raises(openai.NotFoundError):
            await gone
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model=MODEL, input="on", previous_response_id=made.id)
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")


async def test_what_is_not_to_be_kept_is_not(client: openai.AsyncOpenAI) -> None:
    made: Response = await client.responses.create(model=MODEL, input="one", store=False)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


async def test_tokens_are_counted_without_an_answer(client: openai.AsyncOpenAI, engine: EngineProcess) -> None:
    counted = await client.responses.input_tokens.count(model=MODEL, input="one two")
    assert counted.input_tokens > 0
    assert [each["path"] for each in await engine.asked()] == ["/tokenize"]
