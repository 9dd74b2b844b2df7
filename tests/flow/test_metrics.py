"""The real `/metrics` of a gateway: every series that dashboards and alerts read, and the values of one stream."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import httpx
import pytest

from tests.fakes.exposition import families_in, names_in, queries_of
from tests.fakes.gateway import GatewayProcess
from tests.fakes.ports import free_port
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


async def test_with_a_port_of_their_own_metrics_are_there_and_the_main_port_has_no_such_route(
    redis_server: RedisServer,
) -> None:
    port = free_port()
    async with (
        EngineProcess("--model", "fake") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url], {"telemetry.metrics_port": port}) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as prometheus,
    ):
        await gateway.ready()
        await post(gateway.client)
        scraped = await prometheus.get("/metrics")
        assert scraped.headers["content-type"].startswith("text/plain; version=")
        assert 'outcome="ok",route="/v1/chat/completions",status="2xx"' in scraped.text
        for headers in ({}, {"authorization": ""}):
            answer = await gateway.client.get("/metrics", headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert "/metrics" not in (await gateway.client.get("/openapi.json")).json()["paths"]


@pytest.mark.parametrize("setting", ["server.port", "telemetry.metrics_port"])
async def test_a_port_that_is_taken_is_one_sentence_and_no_start(
    redis_server: RedisServer, tmp_path: Path, setting: str
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ports = {"server.port": free_port(), "telemetry.metrics_port": free_port(), setting: port}
        gateway = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", *(f"--set={name}={value}" for name, value in ports.items())),
            env={**os.environ, "GEMMA_REDIS__URL": redis_server.url, "GEMMA_DATA_DIR": str(tmp_path)},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await asyncio.wait_for(gateway.communicate(), 30)
    assert gateway.returncode == 1
    assert said.decode() == f"{setting}: 127.0.0.1:{port} cannot be listened on: Address already in use.\n"
