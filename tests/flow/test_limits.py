"""Limits through the whole gateway."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import openai
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body, payloads, post

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_over_the_limit_is_a_429_that_says_exactly_when_and_is_not_charged(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    limits = {"limits.requests_per_minute": 3, "limits.requests_per_hour": 100}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        answers = [await post(gateway.client) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        remaining = [int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers]
        assert remaining == [2, 1, 0, 0]
        refused = answers[-1]
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert refused.json()["error"]["type"] == "requests"
        assert 15_000 < int(refused.headers["retry-after-ms"]) <= 20_000
        assert refused.headers["x-ratelimit-limit-requests"] == "3"
        line = await gateway.request_line(refused.headers["x-request-id"])
        assert line["outcome"] == "refused"


async def test_what_no_engine_was_asked_for_is_given_back(private_redis: RedisServer, engine: EngineProcess) -> None:
    limits = {"limits.requests_per_minute": 3, "limits.requests_per_hour": 100}
    async with GatewayProcess(private_redis.url, ["http://127.0.0.1:9"], limits) as gateway:
        for _ in range(5):
            assert (await post(gateway.client)).status_code == 503
            # The refund is posted, not awaited.
            await asyncio.sleep(0.05)


async def test_two_gateways_share_one_bucket(engine: EngineProcess, private_redis: RedisServer) -> None:
    limits = {"limits.requests_per_minute": 10, "limits.requests_per_hour": 100, "auth.api_key": "same-for-both"}
    urls = [engine.replica.base_url]
    async with (
        GatewayProcess(private_redis.url, urls, limits) as one,
        GatewayProcess(private_redis.url, urls, limits) as two,
    ):
        await asyncio.gather(one.ready(), two.ready())
        for gateway in (one, two):
            gateway.client.headers["authorization"] = "Bearer same-for-both"
            # The same id for all: it must neither make requests free nor take them for one another.
            gateway.client.headers["x-request-id"] = "req_the_same"
        started = time.monotonic()
        answers = await asyncio.gather(*(post((one, two)[k % 2].client) for k in range(64)))
        elapsed_seconds = time.monotonic() - started
        admitted = sum(answer.status_code == 200 for answer in answers)
        assert 10 <= admitted <= 10 + elapsed_seconds * 10 / 60 + 1
        assert {answer.status_code for answer in answers} == {200, 429}


async def test_the_openai_sdk_waits_as_told_and_gets_through(engine: EngineProcess, private_redis: RedisServer) -> None:
    limits = {"limits.requests_per_minute": 40, "limits.requests_per_hour": 1000}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        await asyncio.gather(*(post(gateway.client) for _ in range(40)))
        async with openai.AsyncOpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.key) as client:
            answer = await client.chat.completions.create(
                model="fake", messages=[{"role": "user", "content": "x"}], max_tokens=4
            )
        assert answer.choices[0].message.content


async def test_closed_refuses_while_redis_is_away(engine: EngineProcess, private_redis: RedisServer) -> None:
    limits = {"limits.requests_per_minute": 50, "limits.on_redis_down": "closed"}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        private_redis.kill()
        response = await post(gateway.client)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "store_unavailable")
        private_redis.start()


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_early_is_not_free(engine: EngineProcess, private_redis: RedisServer, stream: bool) -> None:
    limits = {"limits.requests_per_minute": 3, "limits.requests_per_hour": 100}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        await engine.script("hang", times=-1, path=PATH, silent=True)
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                await gateway.client.post(PATH, json=body(stream=stream), timeout=2.0)
        await asyncio.sleep(0.2)
        assert (await post(gateway.client)).status_code == 429


async def test_counting_tokens_is_limited_too(engine: EngineProcess, private_redis: RedisServer) -> None:
    limits = {"limits.requests_per_minute": 2, "limits.requests_per_hour": 100}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        codes = [(await gateway.client.post("/v1/tokenize", json=body())).status_code for _ in range(3)]
        assert codes == [200, 200, 429]


async def test_a_refusal_that_cost_the_engine_nothing_is_given_back(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    limits = {"limits.requests_per_minute": 2, "limits.requests_per_hour": 100}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        await engine.script("error_400", times=4)
        codes = []
        for _ in range(4):
            codes.append((await post(gateway.client)).status_code)
            await asyncio.sleep(0.05)
        assert codes == [400] * 4


async def test_tokens_are_limited_and_shown_on_streams_too(engine: EngineProcess, private_redis: RedisServer) -> None:
    limits = {"limits.tokens_per_minute": 300}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        answers = [await post(gateway.client, stream=True) for _ in range(40)]
        assert answers[0].headers["x-ratelimit-limit-tokens"] == "300"
        remaining = [int(answer.headers["x-ratelimit-remaining-tokens"]) for answer in answers]
        assert remaining[0] < 300
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert refused[0].json()["error"]["type"] == "tokens"
        assert refused[0].json()["error"]["code"] == "rate_limit_exceeded"
        assert 0 < int(refused[0].headers["retry-after-ms"]) <= 60_000
        assert refused[0].headers["x-ratelimit-remaining-tokens"].isdigit()


async def test_a_prompt_that_can_never_fit_is_a_400_and_a_large_one_is_not(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    limits = {"limits.tokens_per_minute": 100}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        never = await post(gateway.client, "word " * 200)
        assert (never.status_code, never.json()["error"]["code"]) == (400, "exceeds_token_limit")
        assert (await post(gateway.client, "word " * 90, max_tokens=500)).status_code == 200


async def test_a_bucket_that_will_not_refill_soon_is_a_spent_quota(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    limits = {"limits.tokens_per_day": 100}
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], limits) as gateway:
        await gateway.ready()
        await post(gateway.client, "word " * 80)
        refused = await post(gateway.client, "word " * 80)
        assert refused.status_code == 429
        assert refused.json()["error"]["type"] == refused.json()["error"]["code"] == "insufficient_quota"
        assert refused.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "settings",
    [{"limits.concurrent_requests": 1}, {"routing.max_in_flight": 1, "routing.queue_seconds": 0.2}],
    ids=["permit", "place"],
)
async def test_what_a_stream_held_is_free_when_its_client_has_all_of_it(
    engine: EngineProcess, private_redis: RedisServer, settings: dict[str, Any]
) -> None:
    async with GatewayProcess(private_redis.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        for _ in range(3):
            await engine.script("keep_back", path=PATH)
            assert payloads((await post(gateway.client, stream=True)).text)[-1] == "[DONE]"
            assert (await post(gateway.client)).status_code == 200
        # Each connection whose end was kept back was given up in the end.
        await engine.eventually(seconds=5, running=0, aborted=3)
