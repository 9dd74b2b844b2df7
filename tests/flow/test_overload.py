"""Four times what the engines can take: who is admitted is served as fast as ever, the others are told at once.

Every bound is a ratio to what the same run measured at full engines, so that a busy machine moves both.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH, body

SERVICE_SECONDS = 0.1
ENGINES = 2
PLACES = 8
"""At each engine."""
CAPACITY = ENGINES / SERVICE_SECONDS
"""Requests a second."""
OVERLOAD_SECONDS = float(os.environ.get("OVERLOAD_SECONDS", "60"))
SETTINGS = {"routing.max_in_flight": PLACES, "routing.queue_seconds": 0.5}


@dataclass(frozen=True, slots=True)
class Ended:
    """How one request ended: when its first content, or its refusal, was there."""

    status: int
    seconds: float
    retry_after_ms: int | None


async def ask(client: httpx.AsyncClient, text: str, key: str = "") -> Ended:
    """Send a streaming request and wait for its first content."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    started = time.perf_counter()
    async with client.stream("POST", PATH, json=body(text, stream=True), headers=headers) as response:
        first: float | None = None
        async for line in response.aiter_lines():
            if first is None and '"content":"' in line and '"content":""' not in line:
                first = time.perf_counter()
        wait = response.headers.get("retry-after-ms")
        seconds = (first or time.perf_counter()) - started
        return Ended(response.status_code, seconds, int(wait) if wait else None)


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return sorted(values)[int(0.99 * (len(values) - 1))]


async def at_capacity(client: httpx.AsyncClient, seconds: float) -> tuple[float, float]:
    """Return the p99 of the time to first token, and requests a second, with every place taken and nobody waiting."""
    started = time.monotonic()
    until = started + seconds
    seen: list[float] = []

    async def user(number: int) -> None:
        while time.monotonic() < until:
            seen.append((await ask(client, f"user {number} at {len(seen)}")).seconds)

    await asyncio.gather(*(user(number) for number in range(ENGINES * PLACES)))
    return p99(seen[ENGINES * PLACES :]), len(seen) / (time.monotonic() - started)


async def flood(clients: Sequence[httpx.AsyncClient], seconds: float, rate: float, key: str = "") -> list[Ended]:
    """Send `rate` requests a second to the clients in turn, whatever becomes of those before."""
    loop = asyncio.get_running_loop()
    started, tasks = loop.time(), []
    for number in range(int(seconds * rate)):
        await asyncio.sleep(max(0.0, started + number / rate - loop.time()))
        client = clients[number % len(clients)]
        tasks.append(asyncio.create_task(ask(client, f"flood {number}", key)))
    return await asyncio.gather(*tasks)


async def longest_pause() -> float:
    """Return, when it is cancelled, the longest time that this process was late by: then the machine stood still."""
    longest = 0.0
    with suppress(asyncio.CancelledError):
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - before - 0.01)
    return longest


def client_of(url: str, key: str = "") -> httpx.AsyncClient:
    """Return a client that never waits for a connection."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=120, limits=limits, trust_env=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_overload_leaves_who_is_admitted_alone_and_starves_nobody(redis_server: RedisServer) -> None:
    arguments = ("--model", "fake", "--service-ms", str(SERVICE_SECONDS * 1000), "--tokens", "2")
    async with EngineProcess(*arguments) as one, EngineProcess(*arguments) as two:
        urls = [one.replica.base_url, two.replica.base_url]
        async with GatewayProcess(redis_server.url, urls, SETTINGS) as gateway:
            await gateway.ready()
            made = await gateway.client.post("/admin/keys", json={"tenant": "quiet", "user": "q"})
            quiet_key = made.json()["key"]
            async with client_of(gateway.base_url, gateway.key) as client:
                unloaded, rate = await at_capacity(client, 5)
                watch = asyncio.create_task(longest_pause())
                noisy, quiet = await asyncio.gather(
                    flood([client], OVERLOAD_SECONDS, 4 * CAPACITY),
                    flood([client], OVERLOAD_SECONDS, 2, quiet_key),
                )
                watch.cancel()
                paused = await watch
            await one.eventually(running=0, seconds=10)
            assert await gateway.metric("gateway_queued_requests") == 0
        async with client_of(urls[0]) as first, client_of(urls[1]) as second:
            control = await flood([first, second], min(OVERLOAD_SECONDS, 10), 4 * CAPACITY)

    admitted = [each.seconds for each in (*noisy, *quiet) if each.status == 200]
    refused = [each for each in (*noisy, *quiet) if each.status == 503]
    waits = sorted(each.retry_after_ms or 0 for each in refused)
    served = sum(each.status == 200 for each in quiet) / len(quiet)
    print(f"unloaded p99 {unloaded:.3f} s; admitted {len(admitted)}, p99 {p99(admitted):.3f} s, paused {paused:.3f} s")
    refused_within = sorted(each.seconds for each in refused)[len(refused) // 2]
    print(f"refused {len(refused)}, half of them within {refused_within:.4f} s; rate at full engines {rate:.1f} /s")
    print(
        f"waits told: {waits[0]} to {waits[-1]} ms, median {waits[len(waits) // 2]}; quiet tenant served: {served:.1%}"
    )
    print(f"plain round robin: p99 {p99([each.seconds for each in control]):.3f} s")
    assert len(admitted) + len(refused) == len(noisy) + len(quiet)
    assert p99(admitted) <= 2 * unloaded + paused
    assert refused_within < unloaded / 4
    assert 100 <= waits[0] <= waits[-1] <= 3000 * unloaded
    assert served >= 0.95
    assert len(admitted) >= 0.7 * rate * OVERLOAD_SECONDS
    assert p99([each.seconds for each in control]) > 2 * unloaded
