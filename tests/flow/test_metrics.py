"""The real `/metrics` of a gateway: every series that dashboards and alerts read, and the values of one stream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.fakes.exposition import families_in, names_in, queries_of
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import post

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]


async def test_every_series_of_dashboards_and_alerts_is_there(redis_server: RedisServer) -> None:
    async with (
        EngineProcess("--model", "fake") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url]) as gateway,
    ):
        families = families_in((await gateway.client.get("/metrics")).text)
    named = {name for query in queries_of(ROOT) for name in names_in(query) if not name.startswith("vllm:")}
    assert len(named) > 20
    assert named - families == set()


async def test_a_stream_gives_one_value_of_its_pace(redis_server: RedisServer) -> None:
    async with (
        EngineProcess("--model", "fake", "--itl-ms", "20") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url]) as gateway,
    ):
        await gateway.ready()
        name, labels = "gateway_inter_token_latency_seconds", '{model="fake"}'
        await post(gateway.client, "one two three four five six", stream=False)
        assert await gateway.metric(f"{name}_count{labels}") == 0
        await post(gateway.client, "one two three four five six", stream=True)
        assert await gateway.metric(f"{name}_count{labels}") == 1
        mean_seconds = await gateway.metric(f"{name}_sum{labels}")
        assert 0.015 < mean_seconds < 0.2


async def test_who_waits_for_a_place_is_timed(redis_server: RedisServer) -> None:
    limits = {"routing.max_in_flight": 1, "routing.queue_seconds": 0.3}
    async with (
        EngineProcess("--model", "fake") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url], limits) as gateway,
    ):
        await gateway.ready()
        await post(gateway.client)
        assert await gateway.metric("gateway_queue_wait_seconds_count") == 0
        await engine.script("hold")
        holding = asyncio.create_task(post(gateway.client, stream=True))
        await engine.eventually(running=1)
        assert (await post(gateway.client)).status_code == 503
        assert await gateway.metric("gateway_queue_wait_seconds_count") == 1
        await engine.release()
        await holding
