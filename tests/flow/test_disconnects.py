"""A client that leaves, in every phase of its request: everything is let go within a quarter of a second."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body, post

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLOSED = "gateway_client_gone_to_close_seconds"
BOUND_SECONDS = 0.25


async def connect(gateway: GatewayProcess, **fields: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a chat request over a socket of its own."""
    raw = json.dumps(body(**fields)).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(head.encode() + raw)
    await writer.drain()
    return reader, writer


async def closed_in_time(gateway: GatewayProcess, phase: str) -> None:
    """Wait for the phase's one observation and check that it is within the bound."""
    for _ in range(100):
        if await gateway.metric(f'{CLOSED}_count{{phase="{phase}"}}') == 1:
            break
        await asyncio.sleep(0.02)
    assert await gateway.metric(f'{CLOSED}_bucket{{le="{BOUND_SECONDS}",phase="{phase}"}}') == 1
    lines = [line for line in gateway.log if line.get("outcome") == "client_gone"]
    assert len(lines) == 1


def sockets_of_clients(gateway: GatewayProcess) -> int:
    """Return how many connections there are to the gateway's port, as the kernel counts them on its side."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(row[1].endswith(f":{gateway.port:04X}") and row[9] != "0" and row[3] != "0A" for row in rows)


async def eventually_has_sockets(gateway: GatewayProcess, most: int) -> None:
    """Wait until the gateway holds no more connections than these."""
    for _ in range(100):
        if sockets_of_clients(gateway) <= most:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{sockets_of_clients(gateway)} connections, not {most}")


@pytest_asyncio.fixture(loop_scope="module")
async def alone(engine: EngineProcess, redis_server: RedisServer) -> AsyncIterator[GatewayProcess]:
    """A gateway of this test's own, with one place at its one engine."""
    settings = {"routing.max_in_flight": 1, "routing.queue_seconds": 30}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        yield gateway


@pytest.mark.parametrize("stream", [True, False])
async def test_while_it_waits_for_a_place(alone: GatewayProcess, engine: EngineProcess, stream: bool) -> None:
    await engine.script("hold")
    first = asyncio.create_task(post(alone.client))
    await engine.eventually(running=1)
    _, writer = await connect(alone, stream=stream)
    while await alone.metric("gateway_queued_requests") == 0:
        await asyncio.sleep(0.01)
    writer.close()
    await closed_in_time(alone, "queued")
    assert await alone.metric("gateway_queued_requests") == 0
    await engine.release()
    assert (await first).status_code == 200
    assert len(await engine.asked()) == 1


@pytest.mark.parametrize("behaviour", ["slow_headers", "hang"])
async def test_before_the_first_token(alone: GatewayProcess, engine: EngineProcess, behaviour: str) -> None:
    await engine.script(behaviour, seconds=30)
    _, writer = await connect(alone, stream=True)
    await engine.eventually(running=1)
    writer.close()
    await closed_in_time(alone, "before_first_token")
    await engine.eventually(seconds=1, running=0, aborted=1)


async def test_while_an_answer_that_is_not_streamed_is_made(alone: GatewayProcess, engine: EngineProcess) -> None:
    await engine.script("hold")
    _, writer = await connect(alone)
    await engine.eventually(running=1)
    writer.close()
    await closed_in_time(alone, "before_first_token")
    await engine.eventually(seconds=1, running=0, aborted=1)


async def test_in_the_middle_of_a_stream(alone: GatewayProcess, engine: EngineProcess) -> None:
    await engine.script("hang", chunks=4)
    reader, writer = await connect(alone, stream=True)
    await reader.readuntil(b"said")
    writer.close()
    await closed_in_time(alone, "answering")
    await engine.eventually(seconds=1, running=0, aborted=1)


async def test_while_the_gateway_waits_for_it_to_read(alone: GatewayProcess, engine: EngineProcess) -> None:
    # Some 30 MB of answer: more than the kernel's buffers take on the way.
    _, writer = await connect(alone, text=("x" * 600 + " ") * 8000, stream=True, n=4, max_tokens=8192)
    transport = writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    async with asyncio.timeout(20):
        while not await alone.metric('gateway_time_to_first_token_seconds_count{model="fake"}'):
            await asyncio.sleep(0.05)
    # Time enough for every buffer on the way to fill up, and the gateway to be blocked in its send.
    await asyncio.sleep(1.0)
    transport.abort()
    await closed_in_time(alone, "answering")
    await engine.eventually(seconds=1, running=0)


async def test_a_client_that_takes_nothing_is_given_up(engine: EngineProcess, redis_server: RedisServer) -> None:
    settings = {"routing.max_in_flight": 1, "stream.client_timeout_seconds": 1.0}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        before = sockets_of_clients(gateway)
        _, writer = await connect(gateway, text=("x" * 600 + " ") * 8000, stream=True, n=4, max_tokens=8192)
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        await engine.eventually(seconds=20, running=1)
        await asyncio.sleep(2.5)
        assert (await post(gateway.client)).status_code == 200
        assert [line["status"] for line in gateway.log if line.get("outcome") == "client_gone"] == [200]
        await eventually_has_sockets(gateway, before)
        transport.abort()


async def test_one_that_takes_nothing_of_an_earlier_answer_is_given_up_too(
    engine: EngineProcess, redis_server: RedisServer
) -> None:
    settings = {"routing.max_in_flight": 1, "routing.queue_seconds": 3, "stream.client_timeout_seconds": 1.0}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        # A whole answer is written at once, more than the kernel takes; the next request's must wait for it.
        _, writer = await connect(gateway, text=("x" * 600 + " ") * 8000, n=4, max_tokens=8192)
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        raw = json.dumps(body()).encode()
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.key}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
        writer.write(head.encode() + raw)
        async with asyncio.timeout(20):
            while len(await engine.asked()) < 2:
                await asyncio.sleep(0.05)
        await asyncio.sleep(2.0)
        assert (await post(gateway.client)).status_code == 200
        transport.abort()


async def test_one_that_sent_two_requests_at_once_is_noticed_too(alone: GatewayProcess, engine: EngineProcess) -> None:
    await engine.script("hold")
    raw = json.dumps(body()).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {alone.key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", alone.port)
    writer.write((head.encode() + raw) * 2)
    await engine.eventually(running=1)
    writer.close()
    await engine.eventually(seconds=1, running=0, aborted=1)
