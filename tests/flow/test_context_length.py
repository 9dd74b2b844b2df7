"""A prompt that cannot fit the model is refused before anything is reserved; only one that is near is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fakes.engine_state import MAX_MODEL_LEN
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, post
from tests.flow.test_sessions import new_session, said

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEMPLATE_TOKENS = 4
"""What the scripted engine counts for a message besides its words."""
SETTINGS = {"limits.tokens_per_minute": 10**6}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_gateway(module_engine: EngineProcess, redis_server: RedisServer) -> AsyncIterator[GatewayProcess]:
    """A gateway with a limit on tokens, so that a reservation would be seen."""
    async with GatewayProcess(redis_server.url, [module_engine.replica.base_url], SETTINGS) as gateway:
        await gateway.ready()
        yield gateway


def words(tokens: int) -> str:
    """Return a message of so many tokens."""
    return "word " * (tokens - TEMPLATE_TOKENS)


async def paths(engine: EngineProcess) -> list[str]:
    """Return what the engine was asked."""
    return [each["path"] for each in await engine.asked()]


async def counts(gateway: GatewayProcess, outcome: str) -> float:
    """Return how many prompts were counted so far, or not."""
    return await gateway.metric(f'gateway_prompts_counted_total{{outcome="{outcome}"}}')


async def test_one_token_too_many_is_refused_in_openais_words_with_nothing_reserved(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    refused = await post(gateway.client, words(MAX_MODEL_LEN))
    assert refused.status_code == 400
    assert refused.json()["error"] == {
        "message": f"This model's maximum context length is {MAX_MODEL_LEN} tokens. However, your messages resulted in "
        f"{MAX_MODEL_LEN} tokens. Please reduce the length of the messages.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    assert "x-ratelimit-remaining-tokens" not in refused.headers
    assert await paths(engine) == ["/tokenize"]


async def test_one_with_room_for_a_word_of_answer_is_answered(gateway: GatewayProcess, engine: EngineProcess) -> None:
    before = await counts(gateway, "counted")
    assert (await post(gateway.client, words(MAX_MODEL_LEN - 1))).status_code == 200
    assert await paths(engine) == ["/tokenize", PATH]
    assert await counts(gateway, "counted") == before + 1


async def test_one_that_is_far_from_the_context_is_not_counted(gateway: GatewayProcess, engine: EngineProcess) -> None:
    for text in ("hi", words(5000)):
        assert (await post(gateway.client, text, max_tokens=8000)).status_code == 200
    assert await paths(engine) == [PATH, PATH]


async def test_a_completions_prompt_is_named_as_such(gateway: GatewayProcess) -> None:
    asked = {"model": "fake", "prompt": words(MAX_MODEL_LEN), "max_tokens": 8}
    refused = await gateway.client.post("/v1/completions", json=asked)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert "reduce the length of the prompt" in error["message"]


@pytest.mark.parametrize("trim", ["true", "false"])
async def test_a_session_that_cannot_fit_its_question_says_so_and_stays_as_it_was(
    engine: EngineProcess, redis_server: RedisServer, trim: str
) -> None:
    settings = {**SETTINGS, "sessions.trim": trim}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        path = await new_session(gateway.client)
        refused = await gateway.client.post(f"{path}/messages", json={"content": words(MAX_MODEL_LEN)})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert await paths(engine) == ["/tokenize"]
        assert await said(gateway.client, path) == []


@pytest.mark.parametrize(("behaviour", "outcome"), [("error_400", "failed"), ("hang", "timed_out")])
async def test_where_it_cannot_be_counted_in_time_the_engine_decides(
    gateway: GatewayProcess, engine: EngineProcess, behaviour: str, outcome: str
) -> None:
    before = await counts(gateway, outcome)
    await engine.script(behaviour, path="/tokenize", times=-1, status=500, silent=True)
    started = time.monotonic()
    assert (await post(gateway.client, words(MAX_MODEL_LEN))).status_code == 200
    assert time.monotonic() - started < 5
    assert await counts(gateway, outcome) == before + 1


async def test_only_a_few_are_counted_at_once(gateway: GatewayProcess, engine: EngineProcess) -> None:
    before = await counts(gateway, "busy")
    await engine.script("hang", path="/tokenize", times=-1, silent=True)
    asked = (post(gateway.client, words(MAX_MODEL_LEN)) for _ in range(7))
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
    assert await counts(gateway, "busy") == before + 3


async def test_a_text_so_long_that_to_count_it_is_work_is_left_to_the_engine(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    before = await counts(gateway, "too_large")
    await post(gateway.client, "word " * (MAX_MODEL_LEN * 10))
    assert await paths(engine) == [PATH]
    assert await counts(gateway, "too_large") == before + 1
