"""Everything that can break, under load, with two gateways, three engines and Redis as real processes.

Whatever happens, each request ends in a whole answer or a clear error, and afterwards nothing is held anywhere and the
ledger has every request that an engine worked for.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import redis

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body, content, payloads

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

WORDS = "a b c d e f g h"
USERS = 8
LONG_WORDS = 400
SETTINGS = {
    "routing.poll_timeout_seconds": 0.5,
    "routing.breaker_seconds": 1,
    "stream.headers_timeout_seconds": 2,
    "stream.idle_timeout_seconds": 2,
    "redis.timeout_seconds": 0.3,
    # Far from reached: what is tested is that every reservation is settled.
    "limits.tokens_per_minute": 1_000_000_000,
    "limits.concurrent_requests": 1000,
    "limits.lease_seconds": 3,
}


@dataclass(slots=True)
class World:
    """What runs."""

    engines: list[EngineProcess]
    gateways: list[GatewayProcess]
    redis: RedisServer


@asynccontextmanager
async def world(redis: RedisServer) -> AsyncIterator[World]:
    """Start three engines and two gateways; yield when all are ready."""
    one, two, three = (EngineProcess("--model", "fake", "--itl-ms", "5") for _ in range(3))
    async with one, two, three:
        urls = [engine.replica.base_url for engine in (one, two, three)]
        async with (
            GatewayProcess(redis.url, urls, SETTINGS) as first,
            GatewayProcess(redis.url, urls, SETTINGS) as other,
        ):
            await first.ready()
            await other.ready()
            yield World([one, two, three], [first, other], redis)


async def user(gateway: GatewayProcess, number: int, stop: asyncio.Event, ends: Counter[str]) -> None:
    """Ask, streamed and not, until `stop`; count how each request ended."""
    headers = dict(gateway.client.headers)
    async with httpx.AsyncClient(base_url=gateway.base_url, headers=headers, timeout=30, trust_env=False) as client:
        turn = 0
        while not stop.is_set():
            turn += 1
            end = await ending(client, f"{WORDS} {number} {turn}", stream=turn % 2 == 0)
            ends[end] += 1
            if end == "connection":
                await asyncio.sleep(0.02)


async def ending(client: httpx.AsyncClient, text: str, *, stream: bool) -> str:
    """Return how it ended: `whole`, `refused` (a status), `cut` (an error event), `connection`, or what is wrong."""
    try:
        answer = await client.post(PATH, json=body(text, stream=stream, max_tokens=16))
    except httpx.TransportError:
        return "connection"
    if answer.status_code != 200:
        return "refused" if answer.status_code >= 429 and "error" in answer.json() else f"status {answer.status_code}"
    if not stream:
        said = answer.json()["choices"][0]["message"]["content"]
        return "whole" if said == f"You said: {text}" else f"wrong: {answer.text}"
    events = payloads(answer.text)
    if events[-1] == "[DONE]":
        return "whole" if content(answer.text) == f"You said: {text}" else f"wrong: {answer.text}"
    return "cut" if "error" in json.loads(events[-1]) else f"silently cut: {answer.text}"


Fault = Callable[[World], Awaitable[None]]


async def engine_killed(of: World) -> None:
    await of.engines[0].kill()
    await asyncio.sleep(1)
    await of.engines[0].start()


async def engine_stopped(of: World) -> None:
    of.engines[0].stop()
    await asyncio.sleep(2.5)
    of.engines[0].cont()


def scripted(behaviour: str, **parameters: Any) -> Fault:
    """Return the fault of an engine that does this to every request for a while."""

    async def fault(of: World) -> None:
        await of.engines[0].script(behaviour, times=-1, **parameters)
        await asyncio.sleep(1.5)
        await of.engines[0].reset()

    return fault


async def redis_killed(of: World) -> None:
    of.redis.kill()
    await asyncio.sleep(1)
    of.redis.start()


async def redis_stopped(of: World) -> None:
    of.redis.stop()
    await asyncio.sleep(1)
    of.redis.cont()


FAULTS: dict[str, Fault] = {
    "engine kill -9": engine_killed,
    "engine SIGSTOP": engine_stopped,
    "engine slow": scripted("slow_first_token", seconds=0.5),
    "engine garbage": scripted("garbage"),
    "engine refuses": scripted("refuse_503"),
    "engine resets": scripted("reset"),
    "engine resets in mid-stream": scripted("reset", chunks=3),
    "engine half-closes": scripted("half_close", seconds=1),
    "engine sends headers only": scripted("hang"),
    "engine answers 500": scripted("error_400", status=500),
    "Redis killed": redis_killed,
    "Redis stopped": redis_stopped,
}
FOR_ALL_TO_BE_WHOLE = {"engine slow", "engine garbage", "engine resets", "engine answers 500"}
"""Faults that another engine makes good: no client sees any of them.

Not of an engine that refuses: it says that it is full, so it is not ejected, and second tries have a budget.
"""


@pytest.mark.parametrize("name", FAULTS)
async def test_every_request_ends_and_nothing_is_left(private_redis: RedisServer, name: str) -> None:
    async with world(private_redis) as of:
        stop, ends = asyncio.Event(), Counter[str]()
        users = [asyncio.create_task(user(of.gateways[k % 2], k, stop, ends)) for k in range(USERS)]
        await asyncio.sleep(0.5)
        await FAULTS[name](of)
        await asyncio.sleep(1)
        stop.set()
        await asyncio.gather(*users)
        print(name, dict(ends))
        assert set(ends) <= {"whole", "refused", "cut"}
        assert ends["whole"] > USERS
        if name in FOR_ALL_TO_BE_WHOLE:
            assert set(ends) == {"whole"}
        await nothing_is_left(of.gateways, of.engines)
        await nothing_is_reserved(of)
        settled = await in_ledger(of.gateways[0])
        assert settled == sum([await settled_by(gateway) for gateway in of.gateways])
        assert ends["whole"] + ends["cut"] <= settled <= ends.total()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_gateway_that_ends_takes_nobody_elses_requests_with_it(
    private_redis: RedisServer, number: signal.Signals
) -> None:
    async with world(private_redis) as of:
        stop, ends, others = asyncio.Event(), Counter[str](), Counter[str]()
        users = [asyncio.create_task(user(of.gateways[k % 2], k, stop, (ends, others)[k % 2])) for k in range(USERS)]
        async with asyncio.timeout(20):
            while not (ends["whole"] and others["whole"]):
                await asyncio.sleep(0.05)
        # One that surely is under way: its answer takes two seconds.
        long = body(" ".join(["long"] * LONG_WORDS), stream=True, max_tokens=2 * LONG_WORDS)
        async with of.gateways[0].client.stream("POST", PATH, json=long) as answer:
            assert answer.status_code == 200
            of.gateways[0].send_signal(number)
            code = await of.gateways[0].wait()
        assert code == (0 if number is signal.SIGTERM else -number)
        await asyncio.sleep(1)
        stop.set()
        await asyncio.gather(*users)
        print(number.name, dict(ends), dict(others))
        assert set(others) == {"whole"}
        assert set(ends) == {"whole", "connection"}
        await nothing_is_left(of.gateways[1:], of.engines)
        # A killed gateway's reservations are booked by the other one, when their leases have ended.
        await nothing_is_reserved(World(of.engines, of.gateways[1:], of.redis))
        settled = await in_ledger(of.gateways[1])
        assert others["whole"] + ends["whole"] <= settled <= ends.total() + others.total() + 1
        # Each of its users had one request at most under way when it ended, which no log line of its own tells of.
        known = ended_at(of.gateways[0]) + await settled_by(of.gateways[1])
        assert known <= settled <= known + USERS // 2 + 1
        unsettled = await in_ledger(of.gateways[1], "unsettled_requests")
        assert unsettled == await of.gateways[1].metric("gateway_reservations_reaped_total")
        # Those, and what it had settled and not yet sent to Redis.
        assert 0 < unsettled <= USERS if number is signal.SIGKILL else unsettled == 0


async def nothing_is_left(gateways: list[GatewayProcess], engines: list[EngineProcess]) -> None:
    """Wait until nothing is in flight or queued at any gateway, and no engine works."""
    for gateway in gateways:
        async with asyncio.timeout(10):
            while await held_at(gateway):
                await asyncio.sleep(0.05)
    for engine in engines:
        await engine.eventually(seconds=5, running=0)


async def held_at(gateway: GatewayProcess) -> float:
    """Return what the gateway holds, in requests and tokens; the scrape itself is one request."""
    names = ("gateway_replica_in_flight{", "gateway_replica_prefill_tokens{", "gateway_queued_requests ")
    lines = (await gateway.client.get("/metrics")).text.splitlines()
    in_flight = await gateway.metric("gateway_requests_in_flight") - 1
    return in_flight + sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names))


async def nothing_is_reserved(of: World) -> None:
    """Wait until no gateway holds settles back, and Redis has no reservation, lease or running request any more."""
    with redis.Redis(unix_socket_path=of.redis.socket_path) as client:
        async with asyncio.timeout(20):
            while sum([await gateway.metric("gateway_settles_held") for gateway in of.gateways]):
                await asyncio.sleep(0.1)
            while client.keys("*:leases") or client.keys("*:reservations") or running_in(client):
                await asyncio.sleep(0.1)


def running_in(client: redis.Redis) -> int:
    """Return how many requests count as running; what a killed gateway left is out of date, and goes with the next."""
    return sum(client.zcount(key, time.time() * 1e6, "+inf") for key in client.keys("*:concurrent:*"))


async def in_ledger(gateway: GatewayProcess, column: str = "requests") -> int:
    """Return a column's sum in the ledger of the one tenant there is; all gateways have their local user in common."""
    rows = (await gateway.client.get("/v1/usage")).json()["data"]
    return sum(row[column] for row in rows)


def ended_at(gateway: GatewayProcess) -> int:
    """Return how many chats a gateway answered, by its log, which outlives it."""
    lines = [line for line in gateway.log if line.get("event") == "request" and line.get("path") == PATH]
    return sum(line["outcome"] == "ok" for line in lines)


async def settled_by(gateway: GatewayProcess) -> float:
    """Return how many requests the gateway charged for: with the engine's count, and without one."""
    counted = await gateway.metric("gateway_reservation_used_ratio_count")
    return counted + await gateway.metric('gateway_unmetered_requests_total{model="fake"}')
