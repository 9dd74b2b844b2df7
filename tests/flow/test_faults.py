"""What a client sees when an engine misbehaves, and what is left behind: nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body, content, payloads, post

pytestmark = pytest.mark.asyncio(loop_scope="module")

IN_FLIGHT = "gateway_requests_in_flight"


async def settled(gateway: GatewayProcess, replica: str) -> None:
    """Wait until nothing is held at the engine any more; fail after two seconds."""
    for _ in range(100):
        if await gateway.metric(f'gateway_replica_in_flight{{replica="{replica}"}}') == 0:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("a place at the engine was never given back")


def name_of(engine: EngineProcess) -> str:
    """Return what the gateway calls this engine."""
    return f"{engine.replica.host}:{engine.replica.port}"


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        ("refuse_503", 503),
        ("cut_before_headers", 503),
        ("reset", 503),
        ("garbage", 502),
        ("abort", 503),
        ("bad_chunk_framing", 502),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_event_is_a_status_and_worth_a_retry(
    gateway: GatewayProcess, engine: EngineProcess, behaviour: str, status: int, stream: bool
) -> None:
    await engine.script(behaviour, times=-1, path=PATH)
    response = await post(gateway.client, stream=stream)
    assert response.status_code == status
    assert "error" in response.json()
    assert response.headers.get("x-should-retry") != "false"
    line = await gateway.request_line(response.headers["x-request-id"])
    assert line["outcome"] == "upstream_failed"
    await settled(gateway, name_of(engine))


@pytest.mark.parametrize("behaviour", ["cut_mid_stream", "error_in_stream", "half_close"])
async def test_a_failure_in_mid_stream_is_an_error_event_and_no_end_marker(
    redis_server: RedisServer, behaviour: str
) -> None:
    async with (
        EngineProcess("--model", "fake", "--itl-ms", "20") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url]) as gateway,
    ):
        await gateway.ready()
        await engine.script(behaviour, chunks=4)
        response = await post(gateway.client, "a b c d e f g", stream=True)
        found = payloads(response.text)
        assert response.status_code == 200
        assert "[DONE]" not in found
        assert json.loads(found[-1])["error"]["code"] == "engine_error"
        assert "choices" in json.loads(found[-2])
        line = await gateway.request_line(response.headers["x-request-id"])
        assert line["outcome"] == "upstream_failed"
        assert line["completion_tokens"] == 3
        await settled(gateway, name_of(engine))


@pytest.mark.parametrize("behaviour", ["split_bytes", "merge"])
async def test_how_the_engines_bytes_are_cut_makes_no_difference(
    gateway: GatewayProcess, engine: EngineProcess, behaviour: str
) -> None:
    await engine.script(behaviour)
    response = await post(gateway.client, stream=True)
    assert content(response.text) == "You said: one two three"
    assert payloads(response.text)[-1] == "[DONE]"


async def test_a_stale_kept_connection_is_not_the_clients_problem(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await post(gateway.client)
    await engine.script("stale")
    response = await post(gateway.client)
    assert response.status_code == 200


async def test_another_engine_answers_when_the_first_fails_before_its_first_event(
    engine: EngineProcess, redis_server: RedisServer
) -> None:
    async with EngineProcess("--model", "fake", name="second") as second:
        urls = [engine.replica.base_url, second.replica.base_url]
        async with GatewayProcess(redis_server.url, urls) as gateway:
            await gateway.ready()
            for behaviour in ("cut_before_headers", "refuse_503", "garbage", "abort"):
                await engine.script(behaviour, times=-1, path=PATH)
                kinds = [(stream, choices) for stream in (True, False) for choices in (1, 3)]
                answers = [await post(gateway.client, stream=stream, n=choices) for stream, choices in kinds]
                assert [answer.status_code for answer in answers] == [200] * 4, behaviour
                await engine.reset()
            await second.kill()
            answers = [await post(gateway.client, stream=True) for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200] * 4
            assert {content(answer.text) for answer in answers} == {"You said: one two three"}


async def test_a_silent_engine_gets_pings_and_then_a_clear_error(
    engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {
        "stream.first_ping_seconds": 0.2,
        "stream.ping_seconds": 0.2,
        "stream.headers_timeout_seconds": 1.0,
        "stream.idle_timeout_seconds": 1.0,
    }
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        await engine.script("hang")
        response = await post(gateway.client, stream=True)
        assert response.status_code == 200
        assert response.text.startswith(": ping\n")
        assert "\n\n: ping" not in response.text
        assert json.loads(payloads(response.text)[-1])["error"]["code"] == "engine_timeout"
        line = await gateway.request_line(response.headers["x-request-id"])
        assert line["outcome"] == "timed_out"
        await engine.script("hang")
        unary = await post(gateway.client)
        assert (unary.status_code, unary.json()["error"]["code"]) == (504, "engine_timeout")


async def test_no_engine_at_all_is_a_503_that_says_when_to_come_back(redis_server: RedisServer) -> None:
    async with GatewayProcess(redis_server.url, ["http://127.0.0.1:9"]) as gateway:
        response = await post(gateway.client)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "server_is_overloaded")
        assert int(response.headers["retry-after-ms"]) > 0
        ready = await gateway.client.get("/health/ready")
        alone = await gateway.client.get("/health/ready?scope=gateway")
        assert (ready.status_code, alone.status_code) == (503, 200)


async def leave(gateway: GatewayProcess, engine: EngineProcess, fields: dict[str, Any], after_bytes: int) -> None:
    """Send a chat request over a socket of its own; close it after so many bytes of an answer, 0: once it is asked."""
    raw = json.dumps(body(**fields)).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(head.encode() + raw)
    await writer.drain()
    if after_bytes:
        await reader.readexactly(after_bytes)
    else:
        await engine.eventually(seconds=5, running=1)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("behaviour", "stream", "after_bytes"),
    [
        ("slow_headers", False, 0),
        ("slow_headers", True, 0),
        ("hang", True, 0),
        ("hold", False, 0),
        ("hold", True, 600),
    ],
    ids=["unary, sent", "stream, sent", "before the first token", "unary, generating", "streaming"],
)
async def test_a_client_that_leaves_frees_the_engine_at_once(
    gateway: GatewayProcess, engine: EngineProcess, behaviour: str, stream: bool, after_bytes: int
) -> None:
    await engine.script(behaviour, seconds=30)
    await leave(gateway, engine, {"stream": stream}, after_bytes)
    await engine.eventually(seconds=1.0, aborted=1, running=0)
    await settled(gateway, name_of(engine))
    for _ in range(50):
        lines = [line for line in gateway.log if line.get("outcome") == "client_gone"]
        if lines:
            break
        await asyncio.sleep(0.02)
    assert lines[-1]["status"] in (200, 499)


async def test_a_slow_reader_slows_only_itself(gateway: GatewayProcess, engine: EngineProcess) -> None:
    async with gateway.client.stream("POST", PATH, json=body("w " * 2000, stream=True, max_tokens=2000)) as slow:
        chunks = slow.aiter_raw()
        await anext(chunks)
        others = await asyncio.gather(*(post(gateway.client, stream=True) for _ in range(20)))
        assert {answer.status_code for answer in others} == {200}
        rest = b"".join([part async for part in chunks])
    assert rest.endswith(b"data: [DONE]\n\n")


async def test_many_at_once_are_all_answered_and_counted_down(gateway: GatewayProcess, engine: EngineProcess) -> None:
    limits = httpx.Limits(max_connections=100)
    headers = {"authorization": f"Bearer {gateway.key}"}
    async with httpx.AsyncClient(base_url=gateway.base_url, limits=limits, headers=headers, timeout=60) as client:
        answers = await asyncio.gather(*(post(client, f"number {k}", stream=k % 2 == 0) for k in range(300)))
    assert [answer.text for answer in answers if answer.status_code != 200] == []
    for k, answer in enumerate(answers):
        said = content(answer.text) if k % 2 == 0 else answer.json()["choices"][0]["message"]["content"]
        assert said == f"You said: number {k}"
    await settled(gateway, name_of(engine))
    # The request that reads the metric is itself in flight.
    assert await gateway.metric(IN_FLIGHT) == 1
