"""What is charged, and where it can be read: by the caller, and by an admin."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import signal
import uuid
from typing import Any

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body, payloads, post

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTHING = {"limits.requests_per_minute": 0, "limits.requests_per_hour": 0}


async def client_of(gateway: GatewayProcess, tenant: str, user: str, *scopes: str) -> httpx.AsyncClient:
    """Return a client with a new key for this user."""
    made = await gateway.client.post("/admin/keys", json={"tenant": tenant, "user": user, "scopes": list(scopes)})
    headers = {"authorization": f"Bearer {made.json()['key']}"}
    return httpx.AsyncClient(base_url=gateway.base_url, headers=headers, timeout=60, trust_env=False)


def new_tenant() -> str:
    """Return a tenant that no other test has."""
    return f"tenant-{uuid.uuid4().hex}"


async def leave(client: httpx.AsyncClient, engine: EngineProcess, *, stream: bool, seconds: float = 0.0) -> None:
    """Ask, and leave so long after the engine has the request."""
    asking = asyncio.create_task(client.post(PATH, json=body(stream=stream)))
    await engine.eventually(seconds=5, running=1)
    await asyncio.sleep(seconds)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def used(client: httpx.AsyncClient) -> dict[str, Any]:
    """Return the one row of the caller's usage, waiting for it."""
    for _ in range(100):
        rows = (await client.get("/v1/usage")).json()["data"]
        if rows:
            (row,) = rows
            return dict(row)
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was booked")


async def test_an_answer_is_booked_as_the_engine_counted_it(gateway: GatewayProcess) -> None:
    tenant = new_tenant()
    async with await client_of(gateway, tenant, "ann") as client:
        answer = (await post(client)).json()
        stream = await post(client, stream=True, stream_options={"include_usage": True})
        counts = [answer["usage"], json.loads(payloads(stream.text)[-2])["usage"]]
        await asyncio.sleep(0.1)
        row = await used(client)
    assert (row["tenant"], row["user"], row["model"], row["requests"]) == (tenant, "ann", "fake", 2)
    assert row["prompt_tokens"] == sum(count["prompt_tokens"] for count in counts)
    assert row["completion_tokens"] == sum(count["completion_tokens"] for count in counts)
    assert (row["unmetered_requests"], row["unsettled_requests"]) == (0, 0)


async def test_a_stream_that_its_client_broke_off_is_charged_the_last_usage_on_the_wire(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await engine.script("hang", path=PATH, chunks=4)
    async with await client_of(gateway, new_tenant(), "ann") as client:
        seen = 0
        async with client.stream("POST", PATH, json=body(stream=True)) as response:
            request_id = response.headers["x-request-id"]
            async for text in response.aiter_lines():
                seen += text.startswith("data: ")
                if seen == 4:
                    break
        row = await used(client)
        whole = (await post(client)).json()["usage"]
    assert (row["requests"], row["unmetered_requests"]) == (1, 0)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (whole["prompt_tokens"], 3)
    line = await gateway.request_line(request_id)
    assert (line["outcome"], line["prompt_tokens"], line["completion_tokens"]) == (
        "client_gone",
        whole["prompt_tokens"],
        3,
    )


async def test_who_leaves_after_the_role_and_before_content_is_charged_the_prompt(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await engine.script("hang", path=PATH, chunks=1)
    async with await client_of(gateway, new_tenant(), "ann") as client:
        # The role is written with the head; it must have come before its client goes.
        await leave(client, engine, stream=True, seconds=1.0)
        row = await used(client)
        whole = (await post(client)).json()["usage"]
    assert (row["requests"], row["unmetered_requests"]) == (1, 0)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (whole["prompt_tokens"], 0)


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_before_any_count_is_charged_the_estimate(
    gateway: GatewayProcess, engine: EngineProcess, stream: bool
) -> None:
    await engine.script("hang", path=PATH, silent=True)
    async with await client_of(gateway, new_tenant(), "ann") as client:
        await leave(client, engine, stream=stream)
        row = await used(client)
    assert (row["requests"], row["unmetered_requests"]) == (1, 1)
    assert row["prompt_tokens"] > 0
    assert row["completion_tokens"] == 8


async def test_what_no_engine_worked_on_is_not_booked(gateway: GatewayProcess, engine: EngineProcess) -> None:
    async with await client_of(gateway, new_tenant(), "ann") as client:
        await engine.script("refuse_503", times=1)
        assert (await post(client)).status_code == 503
        await engine.script("cut_before_headers", times=2)
        assert (await post(client)).status_code == 503
        await gateway.ready()
        await engine.script("error_400", times=1, status=500)
        assert (await post(client)).status_code == 502
        await gateway.ready()
        await engine.script("error_in_stream", times=1, chunks=0)
        assert (await post(client, stream=True)).status_code == 502
        await gateway.ready()
        await engine.script("error_400", times=1)
        assert (await post(client)).status_code == 400
        await engine.script("error_400", times=1, body={"error": {"message": "x" * 100_000}})
        assert (await post(client)).status_code == 400
        # What is booked is booked in its order: what came before would be seen with the next, or before it.
        booked = (await post(client)).json()["usage"]
        row = await used(client)
        assert (row["requests"], row["unmetered_requests"]) == (1, 0)
        assert (row["prompt_tokens"], row["completion_tokens"]) == (
            booked["prompt_tokens"],
            booked["completion_tokens"],
        )


async def test_an_engine_that_errs_after_it_has_counted_is_charged_its_count(
    gateway: GatewayProcess, engine: EngineProcess
) -> None:
    await engine.script("error_in_stream", path=PATH, chunks=1)
    async with await client_of(gateway, new_tenant(), "ann") as client:
        assert (await post(client, stream=True)).status_code == 502
        row = await used(client)
        await gateway.ready()
        whole = (await post(client)).json()["usage"]
    assert (row["requests"], row["unmetered_requests"]) == (1, 0)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (whole["prompt_tokens"], 0)


async def test_each_sees_its_own_and_an_admin_sees_all(gateway: GatewayProcess) -> None:
    tenant = new_tenant()
    ann, bob = await client_of(gateway, tenant, "ann"), await client_of(gateway, tenant, "=bob")
    async with ann, bob:
        for client in (ann, bob, bob):
            await post(client)
        await asyncio.sleep(0.2)
        assert [(await used(client))["requests"] for client in (ann, bob)] == [1, 2]
        assert (await ann.get("/admin/usage")).status_code == 403
    one = (await gateway.client.get("/admin/usage", params={"tenant": tenant})).json()
    assert [(row["user"], row["requests"]) for row in one["data"]] == [("=bob", 2), ("ann", 1)]
    everybody = (await gateway.client.get("/admin/usage")).json()["data"]
    assert {row["user"] for row in everybody if row["tenant"] == tenant} == {"ann", "=bob"}
    text = await gateway.client.get("/admin/usage", params={"tenant": tenant, "format": "csv"})
    assert text.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(text.text)))
    assert [(row["user"], row["requests"]) for row in rows] == [("'=bob", "2"), ("ann", "1")]
    accepted = await gateway.client.get("/admin/usage", params={"tenant": tenant}, headers={"accept": "text/csv"})
    assert accepted.text == text.text


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"start": "2026-01-02", "end": "2026-01-01"}, "start"),
        ({"start": "2020-01-01", "end": "2026-01-01"}, "start"),
        ({"start": "yesterday"}, "start"),
        ({"end": "0001-01-05"}, "end"),
        ({"start": "2026-01-01", "end": "9999-12-31"}, "start"),
        ({"format": "xml"}, "format"),
    ],
)
async def test_a_question_that_makes_no_sense_is_a_400(
    gateway: GatewayProcess, query: dict[str, str], param: str
) -> None:
    for path in ("/v1/usage", "/admin/usage"):
        response = await gateway.client.get(path, params=query)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_days_without_use_and_tenants_that_are_none_are_empty(gateway: GatewayProcess) -> None:
    query = {"start": "2020-01-01", "end": "2020-01-31"}
    assert (await gateway.client.get("/v1/usage", params=query)).json()["data"] == []
    for query in ({"end": "0001-01-30"}, {"end": "9999-12-31"}, {"start": "0001-01-01", "end": "0001-01-05"}):
        assert (await gateway.client.get("/v1/usage", params=query)).json()["data"] == []
    for tenant in ("nobody", "{}"):
        assert (await gateway.client.get("/admin/usage", params={"tenant": tenant})).json()["data"] == []


async def test_what_a_killed_gateway_left_open_is_booked_unsettled(
    engine: EngineProcess, private_redis: RedisServer
) -> None:
    settings = {**NOTHING, "limits.concurrent_requests": 1, "limits.lease_seconds": 3, "auth.api_key": "same-for-both"}
    urls = [engine.replica.base_url]
    async with (
        GatewayProcess(private_redis.url, urls, settings) as one,
        GatewayProcess(private_redis.url, urls, settings) as two,
    ):
        await asyncio.gather(one.ready(), two.ready())
        for gateway in (one, two):
            gateway.client.headers["authorization"] = "Bearer same-for-both"
        await engine.script("hang", path=PATH, chunks=3)
        async with one.client.stream("POST", PATH, json=body(stream=True)) as response:
            lines = response.aiter_lines()
            await anext(lines)
            assert (await post(two.client)).status_code == 429
            one.send_signal(signal.SIGKILL)
            await one.wait()
        async with asyncio.timeout(10):
            while (answer := await post(two.client)).status_code == 429:
                await asyncio.sleep(0.1)
        assert answer.status_code == 200
        for _ in range(200):
            row = await used(two.client)
            if row["unsettled_requests"]:
                break
            await asyncio.sleep(0.1)
        assert (row["requests"], row["unsettled_requests"]) == (2, 1)
        assert await two.metric("gateway_reservations_reaped_total") == 1
