"""SIGTERM: running answers end whole, new ones are refused or never connected, the exit code is 0."""

from __future__ import annotations

import asyncio
import signal

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import content, payloads, post

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAMS = 20


async def test_sigterm_under_load_cuts_nobody_off(redis_server: RedisServer) -> None:
    async with (
        EngineProcess("--model", "fake", "--itl-ms", "50") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url]) as gateway,
    ):
        await gateway.ready()
        words = " ".join(f"w{k}" for k in range(20))
        running = [asyncio.create_task(post(gateway.client, words, stream=True, max_tokens=30)) for _ in range(STREAMS)]
        await engine.eventually(seconds=10, running=STREAMS)
        gateway.send_signal(signal.SIGTERM)
        late = await asyncio.gather(*(_late(gateway) for _ in range(10)))
        answers = await asyncio.gather(*running)
        assert [payloads(answer.text)[-1] for answer in answers] == ["[DONE]"] * STREAMS
        assert {content(answer.text) for answer in answers} == {f"You said: {words}"}
        assert set(late) <= {"refused", "whole"}
        assert await gateway.wait() == 0
        await engine.eventually(aborted=0, running=0)


async def _late(gateway: GatewayProcess) -> str:
    """Send a request after the signal and say how it ended."""
    await asyncio.sleep(0.2)
    async with httpx.AsyncClient(base_url=gateway.base_url, headers=gateway.client.headers, timeout=30) as client:
        try:
            answer = await post(client, "late")
        except httpx.TransportError:
            return "refused"
    return "whole" if answer.status_code == 200 else "refused" if answer.status_code == 503 else str(answer.status_code)


async def test_the_deadline_ends_what_does_not_end_by_itself(redis_server: RedisServer) -> None:
    async with (
        EngineProcess("--model", "fake") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url], {"server.drain_seconds": 1}) as gateway,
    ):
        await gateway.ready()
        await engine.script("hold")
        asking = asyncio.create_task(post(gateway.client, stream=True))
        await engine.eventually(running=1)
        gateway.send_signal(signal.SIGTERM)
        assert await gateway.wait(15) == 0
        with pytest.raises(httpx.TransportError):
            await asking
        await engine.eventually(running=0)
