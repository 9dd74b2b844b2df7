"""A session that outgrows the model: its oldest turns are left out, in steps, and it says so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.fakes.engine_state import MAX_MODEL_LEN
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body, payloads
from tests.flow.test_sessions import new_session, said

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOM_TOKENS = 200
ASKED = {"max_tokens": MAX_MODEL_LEN - ROOM_TOKENS}
WORDS = " ".join(["word"] * 8)


SETTINGS = {"prompt.max_output_tokens": MAX_MODEL_LEN}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_gateway(module_engine: EngineProcess, redis_server: RedisServer) -> AsyncIterator[GatewayProcess]:
    """A gateway that lets answers be nearly as long as the context, so that little room is left."""
    async with GatewayProcess(redis_server.url, [module_engine.replica.base_url], SETTINGS) as gateway:
        await gateway.ready()
        yield gateway


async def turn(client: httpx.AsyncClient, path: str, number: int) -> dict[str, Any]:
    """Say something and return the answer's usage."""
    answer = await client.post(f"{path}/messages", json={"content": f"{number} {WORDS}", **ASKED})
    assert answer.status_code == 200, answer.text
    usage: dict[str, Any] = answer.json()["usage"]
    return usage


async def sent(engine: EngineProcess) -> list[list[dict[str, Any]]]:
    """Return the messages of every prompt that was answered."""
    asked = [each for each in await engine.asked() if each["path"] == PATH]
    return [json.loads(each["body"])["messages"] for each in asked]


async def test_the_oldest_turns_are_left_out_in_steps_and_the_session_keeps_them(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    path = await new_session(gateway.client, system="Be brief.")
    usages, prompts = [], []
    for number in range(40):
        usages.append(await turn(gateway.client, path, number))
        prompts.append((await sent(engine))[-1])
    assert all(usage["prompt_tokens"] <= ROOM_TOKENS for usage in usages)
    assert all(prompt[0] == {"role": "system", "content": "Be brief."} for prompt in prompts)
    assert all([message["role"] for message in prompt[1::2]] == ["user"] * (len(prompt) // 2) for prompt in prompts)
    firsts = [prompt[1]["content"].split()[0] for prompt in prompts]
    assert firsts == sorted(firsts, key=int)
    # A cut stays where it is for several turns: what the prefix cache lives on.
    assert 3 <= len(set(firsts)) <= len(firsts) / 2
    trimmed = [usage["session"]["trimmed_messages"] for usage in usages]
    assert trimmed == [2 * int(first) for first in firsts]
    assert [usage["session"]["history_messages"] for usage in usages] == [len(prompt) - 1 for prompt in prompts]
    assert len(await said(gateway.client, path)) == 80
    assert await gateway.metric("gateway_session_trims_total") >= len(set(firsts)) - 1


async def test_usage_says_what_was_sent_and_left_out_in_tokens_too(gateway: GatewayProcess) -> None:
    path = await new_session(gateway.client)
    usages = [await turn(gateway.client, path, number) for number in range(20)]
    first, *later = [usage["session"] for usage in usages]
    assert first == {"history_messages": 0, "history_tokens": 0, "trimmed_messages": 0, "trimmed_tokens": 0}
    for before, usage, session in zip(usages, usages[1:], later, strict=False):
        turns = session["trimmed_messages"] // 2
        assert (session["trimmed_tokens"] > 0) is (turns > 0)
        # The engine counted the history with the turn before, and what was left out since is not in it.
        left_out = session["trimmed_tokens"] - before["session"]["trimmed_tokens"]
        assert session["history_tokens"] == before["total_tokens"] - left_out
        assert session["history_tokens"] < usage["prompt_tokens"]
    fork = (await gateway.client.post(f"{path}/fork")).json()
    assert (await turn(gateway.client, f"/v1/sessions/{fork['id']}", 20))["session"]["trimmed_tokens"] > 0
    await gateway.client.delete(f"{path}/messages")
    assert (await turn(gateway.client, path, 0))["session"] == first


async def test_the_engine_is_asked_to_count_only_near_the_limit(gateway: GatewayProcess, engine: EngineProcess) -> None:
    path = await new_session(gateway.client)
    for _ in range(10):
        await gateway.client.post(f"{path}/messages", json={"content": "hi"})
    assert {each["path"] for each in await engine.asked()} == {PATH}


async def test_what_a_client_says_as_system_stays(gateway: GatewayProcess, engine: EngineProcess) -> None:
    messages = [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": f"0 {WORDS}"}]
    first = await gateway.client.post(
        PATH, json={**body(), **ASKED, "messages": messages}, headers={"x-session-id": "new"}
    )
    path = f"/v1/sessions/{first.headers['x-session-id']}"
    for number in range(1, 20):
        await turn(gateway.client, path, number)
    last = (await sent(engine))[-1]
    assert last[0] == {"role": "system", "content": "Rhyme."}
    assert last[1]["content"] != messages[1]["content"]


async def test_a_stream_says_what_was_left_out_where_usage_was_asked_for(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    path = await new_session(gateway.client)
    for number in range(12):
        await turn(gateway.client, path, number)
    asked = {"content": "x", "stream": True, "stream_options": {"include_usage": True}, **ASKED}
    streamed = await gateway.client.post(f"{path}/messages", json=asked)
    last = json.loads(payloads(streamed.text)[-2])
    assert last["usage"]["session"]["trimmed_messages"] > 0
    quiet = await gateway.client.post(f"{path}/messages", json={"content": "x", "stream": True, **ASKED})
    assert "trimmed_messages" not in quiet.text


async def test_a_question_that_is_too_long_alone_leaves_the_session_as_it_was(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    path = await new_session(gateway.client)
    await turn(gateway.client, path, 0)
    before = (await gateway.client.get(path)).json()
    long = await gateway.client.post(f"{path}/messages", json={"content": f"{WORDS} " * 5000, **ASKED})
    assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert (await gateway.client.get(path)).json() == before
    again = await turn(gateway.client, path, 1)
    assert again["session"]["history_messages"] == 2
    assert again["session"]["trimmed_messages"] == again["session"]["trimmed_tokens"] == 0


async def test_with_trimming_off_everything_is_sent_until_it_does_not_fit_any_more(
    engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {"sessions.trim": "false", **SETTINGS}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        path = await new_session(gateway.client)
        for number in range(12):
            await turn(gateway.client, path, number)
        assert len((await sent(engine))[-1]) == 23


async def test_whoever_has_no_quota_left_cannot_make_the_engine_count(
    engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {"limits.requests_per_minute": 2, **SETTINGS}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        made = await gateway.client.post("/admin/keys", json={"tenant": "counted", "user": "u"})
        gateway.client.headers["authorization"] = f"Bearer {made.json()['key']}"
        path = await new_session(gateway.client)
        asked = {"content": "x" * ROOM_TOKENS, **ASKED}
        statuses = [(await gateway.client.post(f"{path}/messages", json=asked)).status_code for _ in range(4)]
        assert statuses == [200, 200, 429, 429]
        paths = [each["path"] for each in await engine.asked()]
        assert paths == ["/tokenize", PATH] * 2


async def test_a_prompt_that_will_be_trimmed_is_admitted_as_what_has_room(
    engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {"limits.tokens_per_minute": MAX_MODEL_LEN, **SETTINGS}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        made = await gateway.client.post("/admin/keys", json={"tenant": "trimmed", "user": "u"})
        gateway.client.headers["authorization"] = f"Bearer {made.json()['key']}"
        path = await new_session(gateway.client)
        asked = {"content": "x" * 10 * ROOM_TOKENS, **ASKED}
        assert (await gateway.client.post(f"{path}/messages", json=asked)).status_code == 200
