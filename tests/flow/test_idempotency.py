"""The same request sent twice with one key: answered once, replayed after, refused while it runs."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body, content, payloads
from tests.flow.test_sessions import new_session, said

pytestmark = pytest.mark.asyncio(loop_scope="module")


def keyed(key: str) -> dict[str, str]:
    """Return the header."""
    return {"idempotency-key": key}


async def generated(engine: EngineProcess) -> int:
    """Return how many requests reached the engine."""
    return len(await engine.asked())


@pytest.mark.parametrize("stream", [False, True])
async def test_a_finished_answer_is_sent_again_and_nothing_is_generated(
    gateway: GatewayProcess, engine: EngineProcess, stream: bool
) -> None:
    path = await new_session(gateway.client)
    asked = {"content": "one two", "stream": stream}
    first, again = [
        await gateway.client.post(f"{path}/messages", json=asked, headers=keyed(f"again-{stream}")) for _ in range(2)
    ]
    assert again.status_code == 200
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-session-id"] == first.headers["x-session-id"]
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await generated(engine) == 1
    assert len(await said(gateway.client, path)) == 2
    if stream:
        assert (payloads(again.text)[-1], content(again.text)) == ("[DONE]", "You said: one two")


async def test_a_chat_without_a_session_is_sent_again_too(gateway: GatewayProcess, engine: EngineProcess) -> None:
    first, again = [await gateway.client.post(PATH, json=body(), headers=keyed("chat")) for _ in range(2)]
    assert first.json() == again.json()
    assert await generated(engine) == 1


async def test_a_key_is_good_for_one_request_of_one_user(gateway: GatewayProcess, engine: EngineProcess) -> None:
    await gateway.client.post(PATH, json=body("one"), headers=keyed("mine"))
    other = await gateway.client.post(PATH, json=body("two"), headers=keyed("mine"))
    assert (other.status_code, other.json()["error"]["code"]) == (400, "idempotency_key_reused")
    assert other.json()["error"]["param"] == "Idempotency-Key"
    made = await gateway.client.post("/admin/keys", json={"tenant": "local", "user": "somebody"})
    theirs = {"authorization": f"Bearer {made.json()['key']}", **keyed("mine")}
    assert (await gateway.client.post(PATH, json=body("two"), headers=theirs)).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_key_that_is_none_names_the_header(gateway: GatewayProcess, key: str) -> None:
    refused = await gateway.client.post(PATH, json=body(), headers=keyed(key))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "Idempotency-Key")


async def test_while_it_is_answered_the_same_request_is_a_409_that_says_when(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await engine.script("hold")
    first = asyncio.create_task(gateway.client.post(PATH, json=body(), headers=keyed("running")))
    await engine.eventually(running=1)
    second = await gateway.client.post(PATH, json=body(), headers=keyed("running"))
    assert (second.status_code, second.json()["error"]["code"]) == (409, "request_in_progress")
    assert int(second.headers["retry-after-ms"]) > 0
    await engine.release()
    assert (await first).status_code == 200
    assert (await gateway.client.post(PATH, json=body(), headers=keyed("running"))).json() == (await first).json()


@pytest.mark.parametrize(
    ("script", "sent"),
    [(("error_400", {}), {}), (("cut_mid_stream", {"chunks": 2}), {"stream": True})],
)
async def test_an_answer_that_failed_is_not_kept(
    gateway: GatewayProcess, engine: EngineProcess, script: tuple[str, dict[str, Any]], sent: dict[str, Any]
) -> None:
    await engine.script(script[0], **script[1])
    header = keyed(f"failed-{script[0]}")
    failed = await gateway.client.post(PATH, json=body(**sent), headers=header)
    assert failed.status_code == 400 or "error" in json.loads(payloads(failed.text)[-1])
    again = await gateway.client.post(PATH, json=body(**sent), headers=header)
    assert again.status_code == 200
    assert "idempotent-replayed" not in again.headers


@pytest.mark.parametrize("stream", [False, True])
async def test_it_is_answered_to_the_end_also_when_its_client_leaves(
    gateway: GatewayProcess, engine: EngineProcess, stream: bool
) -> None:
    path = await new_session(gateway.client)
    asked = {"content": "one two", "stream": stream}
    header = keyed(f"left-{stream}")
    await engine.script("hold")
    with pytest.raises(httpx.TimeoutException):
        await gateway.client.post(f"{path}/messages", json=asked, headers=header, timeout=0.5)
    await engine.release()
    await engine.eventually(running=0)
    for _ in range(100):
        again = await gateway.client.post(f"{path}/messages", json=asked, headers=header)
        if again.status_code != 409:
            break
        await asyncio.sleep(0.02)
    text = content(again.text) if stream else again.json()["choices"][0]["message"]["content"]
    assert (again.status_code, text) == (200, "You said: one two")
    assert (await engine.stats())["aborted"] == 0
    assert [message for _, message in await said(gateway.client, path)] == ["one two", "You said: one two"]


async def test_it_does_not_go_on_for_ever_without_its_client(engine: EngineProcess, redis_server: RedisServer) -> None:
    settings = {"sessions.idempotency_grace_seconds": 0.3}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        await engine.script("hold")
        with pytest.raises(httpx.TimeoutException):
            await gateway.client.post(PATH, json=body(), headers=keyed("grace"), timeout=0.5)
        await engine.eventually(seconds=5, aborted=1)
        assert (await gateway.client.post(PATH, json=body(), headers=keyed("grace"))).status_code == 200


async def test_a_killed_gateway_frees_its_keys(engine: EngineProcess, redis_server: RedisServer) -> None:
    settings = {"sessions.lease_seconds": 0.5, "auth.api_key": "the-key"}
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        await engine.script("hold")
        asking = asyncio.create_task(gateway.client.post(PATH, json=body(), headers=keyed("killed")))
        await engine.eventually(running=1)
        gateway.send_signal(signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            await asking
    await asyncio.sleep(0.6)
    async with GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway:
        await gateway.ready()
        assert (await gateway.client.post(PATH, json=body(), headers=keyed("killed"))).status_code == 200
