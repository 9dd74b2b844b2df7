"""A gateway dies or freezes in mid-answer: nothing is half-written, another goes on, and late is never."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import payloads
from tests.flow.test_sessions import new_session, said

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEASE_SECONDS = 2.0
SLACK_SECONDS = 2.0
SETTINGS = {"sessions.lease_seconds": LEASE_SECONDS, "sessions.busy_wait_seconds": 8.0, "auth.api_key": "the-key"}


@pytest_asyncio.fixture(loop_scope="module")
async def pair(
    engine: EngineProcess, redis_server: RedisServer
) -> AsyncIterator[tuple[GatewayProcess, GatewayProcess]]:
    """Two gateways that share Redis, engine and key."""
    engines = [engine.replica.base_url]
    async with (
        GatewayProcess(redis_server.url, engines, SETTINGS) as one,
        GatewayProcess(redis_server.url, engines, SETTINGS) as two,
    ):
        for gateway in (one, two):
            await gateway.ready()
            gateway.client.headers["authorization"] = "Bearer the-key"
        yield one, two


class Stream:
    """An answer read as it comes."""

    def __init__(self, client: httpx.AsyncClient, path: str) -> None:
        self.text = ""
        self.reading = asyncio.create_task(self._read(client, path))

    async def _read(self, client: httpx.AsyncClient, path: str) -> None:
        asked = {"content": "first of all", "stream": True}
        async with client.stream("POST", f"{path}/messages", json=asked) as answer:
            async for part in answer.aiter_text():
                self.text += part

    async def words(self) -> None:
        """Return when some have come."""
        async with asyncio.timeout(10):
            while "You" not in self.text:
                await asyncio.sleep(0.01)


async def test_a_gateway_killed_in_mid_stream_leaves_nothing_and_the_other_goes_on_within_the_lease(
    pair: tuple[GatewayProcess, GatewayProcess], engine: EngineProcess
) -> None:
    one, two = pair
    path = await new_session(one.client)
    await one.client.post(f"{path}/messages", json={"content": "before"})
    kept = await said(two.client, path)
    await engine.script("hold")
    stream = Stream(one.client, path)
    await stream.words()
    one.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    with pytest.raises(httpx.TransportError):
        await stream.reading
    assert "[DONE]" not in stream.text
    assert await said(two.client, path) == kept
    after = await two.client.post(f"{path}/messages", json={"content": "after"})
    assert after.status_code == 200
    assert time.monotonic() - killed < LEASE_SECONDS + SLACK_SECONDS
    assert await said(two.client, path) == [*kept, ("user", "after"), ("assistant", "You said: after")]


async def test_a_gateway_that_wakes_up_after_its_lease_changes_nothing(
    pair: tuple[GatewayProcess, GatewayProcess], engine: EngineProcess
) -> None:
    one, two = pair
    path = await new_session(one.client)
    await engine.script("hold")
    stream = Stream(one.client, path)
    await stream.words()
    one.send_signal(signal.SIGSTOP)
    assert (await two.client.post(f"{path}/messages", json={"content": "meanwhile"})).status_code == 200
    kept = await said(two.client, path)
    await engine.release()
    one.send_signal(signal.SIGCONT)
    await stream.reading
    found = payloads(stream.text)
    assert "[DONE]" not in found
    assert "store_unavailable" in found[-1]
    assert await said(two.client, path) == kept == [("user", "meanwhile"), ("assistant", "You said: meanwhile")]
    assert await one.metric('gateway_session_conflicts_total{reason="lost"}') == 1
