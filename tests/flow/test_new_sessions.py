"""`X-Session-Id: new`: a session is made by its first exchange, and by nothing less."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import httpx
import pytest

from tests.fakes.engine_state import MAX_MODEL_LEN
from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body
from tests.flow.test_sessions import said

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW = {"x-session-id": "new"}


async def sessions(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return the caller's sessions, once what was posted is done."""
    await asyncio.sleep(0.05)
    data: list[dict[str, Any]] = (await client.get("/v1/sessions")).json()["data"]
    return data


async def sign_in(gateway: GatewayProcess, tenant: str) -> None:
    """Be a user of this test alone."""
    gateway.client.headers["authorization"] = f"Bearer {gateway.key}"
    made = await gateway.client.post("/admin/keys", json={"tenant": tenant, "user": "u"})
    gateway.client.headers["authorization"] = f"Bearer {made.json()['key']}"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("script", "fields", "status"),
    [({"behaviour": "error_400"}, {}, 400), ({"behaviour": "refuse_503"}, {}, 503),
     ({"behaviour": "error_400", "status": 500}, {}, 502), ({"behaviour": "cut_before_headers"}, {}, 503),
     (None, {"messages": [{"role": "user", "content": "word " * MAX_MODEL_LEN}]}, 400),
     (None, {"messages": [{"role": "user", "content": 7}]}, 400)],
)  # fmt: skip
async def test_a_refused_first_message_leaves_no_session(
    gateway: GatewayProcess, engine: EngineProcess, script: dict[str, Any] | None, fields: dict[str, Any],
    status: int, stream: bool,
) -> None:  # fmt: skip
    await sign_in(gateway, "refused")
    if script is not None:
        await engine.script(times=-1, **script)
    refused = await gateway.client.post(PATH, json=body(stream=stream) | fields, headers=NEW)
    assert refused.status_code == status
    assert "x-session-id" not in refused.headers
    assert await sessions(gateway.client) == []


async def test_who_is_over_a_limit_makes_no_sessions(engine: EngineProcess, redis_server: RedisServer) -> None:
    settings = {"limits.requests_per_minute": 1}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        await sign_in(gateway, "limited")
        statuses = [(await gateway.client.post(PATH, json=body(), headers=NEW)).status_code for _ in range(4)]
        assert statuses == [200, 429, 429, 429]
        assert [each["message_count"] for each in await sessions(gateway.client)] == [2]


async def test_a_whole_answer_that_is_cut_leaves_no_session(gateway: GatewayProcess, engine: EngineProcess) -> None:
    await sign_in(gateway, "cut")
    await engine.script("cut_mid_stream")
    assert (await gateway.client.post(PATH, json=body(), headers=NEW)).status_code == 502
    assert await sessions(gateway.client) == []


async def test_a_client_that_leaves_before_its_first_answer_leaves_no_session(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await sign_in(gateway, "left")
    await engine.script("hang", silent=True)
    asking = asyncio.create_task(gateway.client.post(PATH, json=body(), headers=NEW))
    await engine.eventually(seconds=5, running=1)
    assert len(await sessions(gateway.client)) == 1
    asking.cancel()
    async with asyncio.timeout(5):
        while await sessions(gateway.client):
            pass


async def test_a_session_whose_id_a_stream_has_told_stays(gateway: GatewayProcess, engine: EngineProcess) -> None:
    await sign_in(gateway, "told")
    await engine.script("hold")
    async with gateway.client.stream("POST", PATH, json=body(stream=True), headers=NEW) as left:
        session_id = left.headers["x-session-id"]
    await engine.eventually(running=0)
    path = f"/v1/sessions/{session_id}"
    before = await said(gateway.client, path)
    again = await gateway.client.post(PATH, json=body("again"), headers={"x-session-id": session_id})
    assert again.status_code == 200
    assert await said(gateway.client, path) == [*before, ("user", "again"), ("assistant", "You said: again")]


async def test_a_killed_gateway_leaves_no_empty_session(engine: EngineProcess, redis_server: RedisServer) -> None:
    settings = {"sessions.lease_seconds": 2.0}
    engines = [engine.replica.base_url]
    async with GatewayProcess(redis_server.url, engines, settings) as other:
        await other.ready()
        await sign_in(other, "killed-new")
        async with GatewayProcess(redis_server.url, engines, settings) as gateway:
            await gateway.ready()
            gateway.client.headers.update(other.client.headers)
            await engine.script("hang", silent=True)
            asking = asyncio.create_task(gateway.client.post(PATH, json=body(), headers=NEW))
            await engine.eventually(running=1)
            assert len(await sessions(other.client)) == 1
            gateway.send_signal(signal.SIGKILL)
            with pytest.raises(httpx.TransportError):
                await asking
        for _ in range(100):
            if not await sessions(other.client):
                break
        assert await sessions(other.client) == []
