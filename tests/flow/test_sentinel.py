"""A gateway at a Redis behind Sentinels: its master is killed between two messages of a session."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_sentinel import SENTINEL_PASSWORD, WatchedRedis

pytestmark = pytest.mark.slow


async def said(gateway: GatewayProcess, session: str, text: str) -> int:
    """Say something in a session; return the status."""
    path = f"/v1/sessions/{session}/messages"
    return (await gateway.client.post(path, json={"content": text, "max_tokens": 8})).status_code


async def test_a_session_goes_on_at_the_new_master() -> None:
    watched = WatchedRedis()
    try:
        await asyncio.to_thread(watched.start)
        settings = {
            "redis.sentinels": ",".join(watched.sentinels),
            "redis.sentinel_password": SENTINEL_PASSWORD,
            "redis.timeout_seconds": 0.5,
        }
        async with (
            EngineProcess("--model", "fake") as engine,
            GatewayProcess(watched.url, [engine.replica.base_url], settings) as gateway,
        ):
            await gateway.ready()
            session = (await gateway.client.post("/v1/sessions", json={})).json()["id"]
            assert await said(gateway, session, "one") == 200
            assert watched.client(watched.ports[1]).info("replication")["master_link_status"] == "up"
            await asyncio.sleep(0.5)  # Replication comes after the answer.
            await asyncio.to_thread(watched.kill, watched.ports[0])
            assert await said(gateway, session, "two") == 503
            async with asyncio.timeout(30):
                while await said(gateway, session, "two") != 200:
                    await asyncio.sleep(0.2)
            messages = (await gateway.client.get(f"/v1/sessions/{session}/messages")).json()["data"]
            assert [each["content"] for each in messages if each["role"] == "user"] == ["one", "two"]
    finally:
        watched.remove()
