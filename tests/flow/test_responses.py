"""Responses where something goes wrong, or is asked for wrongly; what goes right the SDK's own tests show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/responses"
NONE = "resp_" + "0" * 32


def asking(given: Any = "one two", **fields: Any) -> dict[str, Any]:
    """Return a request for a response."""
    return {"model": "fake", "input": given, **fields}


async def ask(client: httpx.AsyncClient, given: Any = "one two", **fields: Any) -> httpx.Response:
    """Ask for a response."""
    return await client.post(PATH, json=asking(given, **fields))


def events(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream."""
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


@asynccontextmanager
async def own_gateway(redis: RedisServer, engine: EngineProcess, **settings: Any) -> AsyncIterator[GatewayProcess]:
    """A gateway on a Redis of its own, which finds it away and back again at once."""
    quick = {"redis.timeout_seconds": 0.5, "redis.breaker_seconds": 0.1, "limits.usage_retention_days": 0, **settings}
    async with GatewayProcess(redis.url, [engine.replica.base_url], settings=quick) as gateway:
        await gateway.ready()
        yield gateway


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}, "input[0].content[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": "function_call_output", "call_id": "x", "output": "y"}]}, "input[0].call_id"),
        ({"model": None}, "model"),
        ({"model": "none"}, "model"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"truncation": "auto"}, "truncation"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 10_000_000}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "name": "no name"}]}, "tools[0].name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": 1}}}, "text.format.schema"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"previous_response_id": NONE}, "previous_response_id"),
        ({"previous_response_id": "resp_{x}"}, "previous_response_id"),
        ({"messages": []}, "messages"),
    ],
)
async def test_what_is_wrong_is_named_and_no_engine_sees_it(
    gateway: GatewayProcess, engine: EngineProcess, fields: dict[str, Any], param: str
) -> None:
    asked = asking() | fields
    for stream in (False, True):
        answer = await gateway.client.post(PATH, json={**asked, "stream": stream})
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["error"]["param"] == param
    assert await engine.asked() == []


async def test_what_is_nested_too_deeply_is_refused_wherever_it_stands(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    places = (
        {"input": [{"role": "user", "content": "x", "annotations": deep}]},
        {"text": {"verbosity": deep}},
        {"tools": [{"type": "function", "name": "x", "parameters": {"x": deep}}]},
    )
    for fields in places:
        answer = await gateway.client.post(PATH, json=asking() | fields)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error"), answer.text
    assert await engine.asked() == []


async def test_another_users_response_is_not_there(gateway: GatewayProcess) -> None:
    made = (await ask(gateway.client)).json()["id"]
    key = (await gateway.client.post("/admin/keys", json={"user": "ann", "tenant": "local"})).json()["key"]
    async with httpx.AsyncClient(base_url=gateway.base_url, headers={"authorization": f"Bearer {key}"}) as other:
        assert (await other.get(f"{PATH}/{made}")).status_code == 404
        assert (await other.get(f"{PATH}/{made}/input_items")).status_code == 404
        assert (await other.delete(f"{PATH}/{made}")).status_code == 404
        assert (await ask(other, previous_response_id=made)).status_code == 400
    assert (await gateway.client.get(f"{PATH}/{made}")).status_code == 200


async def test_a_client_that_leaves_is_told_apart_and_nothing_is_kept(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await engine.script("normal", tokens=500, itl_ms=20)
    async with gateway.client.stream("POST", PATH, json=asking(stream=True)) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: response.created"
        made = json.loads((await anext(lines)).removeprefix("data: "))["response"]["id"]
    line = await gateway.request_line(answer.headers["x-request-id"])
    assert (line["outcome"], line["path"]) == ("client_gone", PATH)
    await engine.eventually(running=0)
    assert (await gateway.client.get(f"{PATH}/{made}")).status_code == 404


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_with_a_key_is_sent_again(
    gateway: GatewayProcess, engine: EngineProcess, stream: bool
) -> None:
    headers = {"idempotency-key": f"response-again-{stream}"}
    first, again = [await gateway.client.post(PATH, json=asking(stream=stream), headers=headers) for _ in range(2)]
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(await engine.asked()) == 1
    other = await gateway.client.post(PATH, json=asking(stream=stream, metadata={"a": "b"}), headers=headers)
    assert other.json()["error"]["code"] == "idempotency_key_reused"


async def test_a_key_is_for_one_response_to_go_on_from(gateway: GatewayProcess, engine: EngineProcess) -> None:
    one, two = [(await ask(gateway.client)).json()["id"] for _ in range(2)]
    headers = {"idempotency-key": "response-goes-on"}
    for previous, status in ((one, 200), (one, 200), (two, 400)):
        answer = await gateway.client.post(PATH, json=asking(previous_response_id=previous), headers=headers)
        assert answer.status_code == status
    assert len(await engine.asked()) == 3


async def test_a_response_is_in_no_session(gateway: GatewayProcess, engine: EngineProcess) -> None:
    answer = await gateway.client.post(PATH, json=asking(), headers={"x-session-id": "new"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "session_id")
    assert await engine.asked() == []


async def test_limits_count_a_response_as_a_request(private_redis: RedisServer, module_engine: EngineProcess) -> None:
    async with own_gateway(private_redis, module_engine, **{"limits.requests_per_minute": 1}) as gateway:
        first, second = [await ask(gateway.client) for _ in range(2)]
        assert (first.status_code, second.status_code) == (200, 429)
        assert first.headers["x-ratelimit-remaining-requests"] == "0"


async def test_without_redis_who_asks_for_nothing_to_be_kept_is_answered(
    private_redis: RedisServer, module_engine: EngineProcess
) -> None:
    await module_engine.reset()
    async with own_gateway(private_redis, module_engine) as gateway:
        first = (await ask(gateway.client)).json()
        private_redis.kill()
        whole = await ask(gateway.client)
        assert (whole.status_code, whole.json()["store"]) == (200, False)
        streamed = events((await ask(gateway.client, stream=True)).text)
        assert (streamed[-1]["type"], streamed[-1]["response"]["store"]) == ("response.completed", False)
        asked = len(await module_engine.asked())
        wanted = await ask(gateway.client, store=True)
        went_on = await ask(gateway.client, previous_response_id=first["id"])
        assert [each.status_code for each in (wanted, went_on)] == [503, 503]
        assert len(await module_engine.asked()) == asked
        private_redis.start()
        await gateway.ready()
        for _ in range(100):
            if (again := await ask(gateway.client, store=True)).status_code == 200:
                break
            await asyncio.sleep(0.05)
        assert again.json()["store"] is True


async def test_a_stream_that_had_to_be_kept_and_could_not_be_does_not_look_complete(
    private_redis: RedisServer, module_engine: EngineProcess
) -> None:
    await module_engine.reset()
    async with own_gateway(private_redis, module_engine) as gateway:
        await module_engine.script("hold")
        asked = asyncio.create_task(ask(gateway.client, stream=True, store=True))
        await module_engine.eventually(running=1)
        private_redis.kill()
        await module_engine.release()
        told = events((await asked).text)
        assert (told[-1]["type"], told[-1]["code"]) == ("error", "store_unavailable")
        assert told[-1]["error"]["code"] == "store_unavailable"
        assert "response.completed" not in [each["type"] for each in told]


async def test_gateways_on_one_redis_go_on_from_each_others_responses(
    private_redis: RedisServer, module_engine: EngineProcess
) -> None:
    async with own_gateway(private_redis, module_engine) as one, own_gateway(private_redis, module_engine) as two:
        key = (await one.client.post("/admin/keys", json={"user": "ann", "tenant": "acme"})).json()["key"]
        headers = {"authorization": f"Bearer {key}"}
        first = (await one.client.post(PATH, json=asking("one"), headers=headers)).json()
        second = await two.client.post(PATH, json=asking("two", previous_response_id=first["id"]), headers=headers)
        assert second.status_code == 200
        sent = json.loads((await module_engine.asked())[-1]["body"])["messages"]
        assert [each["content"] for each in sent] == ["one", "You said: one", "two"]


async def test_a_row_that_is_full_is_refused_before_anything_is_generated(
    private_redis: RedisServer, module_engine: EngineProcess
) -> None:
    await module_engine.reset()
    async with own_gateway(private_redis, module_engine, **{"responses.max_turns": 2}) as gateway:
        first = (await ask(gateway.client)).json()["id"]
        second = (await ask(gateway.client, previous_response_id=first)).json()["id"]
        third = await ask(gateway.client, previous_response_id=second)
        assert (third.status_code, third.json()["error"]["code"]) == (400, "conversation_full")
        assert len(await module_engine.asked()) == 2
        unkept = await ask(gateway.client, previous_response_id=second, store=False)
        assert (unkept.status_code, unkept.json()["store"]) == (200, False)
