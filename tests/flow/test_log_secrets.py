"""Nothing that a client says or proves itself with gets into the log, wherever it puts it.

What it names is logged: the path, a session's id, and its own id of the request.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "zq7-never-to-be-written-down"

REQUESTS: dict[str, dict[str, Any]] = {
    "a prompt": {"json": body(SECRET)},
    "a streamed prompt": {"json": body(SECRET, stream=True)},
    "a wrong key": {"json": body(), "headers": {"authorization": f"Bearer gg_{SECRET}"}},
    "a scheme that is none": {"json": body(), "headers": {"authorization": f"Basic {SECRET}"}},
    "a key beside the right one": {"json": body(), "headers": {"x-api-key": SECRET, "api-key": SECRET}},
    "a cookie": {"json": body(), "headers": {"cookie": f"session={SECRET}"}},
    "the query": {"json": body(), "params": {"api_key": SECRET}},
    "an unknown field": {"json": {**body(), SECRET: 1}},
    "a field's wrong value": {"json": body(temperature=SECRET)},
    "an unknown model": {"json": body(model=SECRET)},
    "a stop string": {"json": body(stop=[SECRET])},
    "a tool": {"json": body(tools=[{"type": "function", "function": {"name": "f", "description": SECRET}}])},
    "a broken body": {"content": b'{"messages": "' + SECRET.encode()},
    "a foreign trace": {"json": body(), "headers": {"traceparent": SECRET}},
}


async def test_no_secret_of_a_client_is_logged(redis_server: RedisServer) -> None:
    async with (
        EngineProcess("--model", "fake") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url], {"telemetry.log_level": "debug"}) as gateway,
    ):
        await gateway.ready()
        for name, request in REQUESTS.items():
            answer = await gateway.client.post(PATH, **request)
            line = await gateway.request_line(answer.headers["x-request-id"])
            assert line["status"] == answer.status_code, name
            assert SECRET not in json.dumps(gateway.log), name


async def test_what_was_asked_of_an_engine_that_died_is_not_logged(redis_server: RedisServer) -> None:
    async with (
        EngineProcess("--model", "fake") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url], {"telemetry.log_level": "debug"}) as gateway,
    ):
        await gateway.ready()
        await engine.kill()
        with httpx.Client(base_url=gateway.base_url, headers=gateway.client.headers, trust_env=False) as client:
            answer = client.post(PATH, json=body(SECRET))
        await gateway.request_line(answer.headers["x-request-id"])
        assert answer.status_code == 503
        assert SECRET not in json.dumps(gateway.log)
