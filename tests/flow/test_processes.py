"""`server.processes`: one port, several gateways; one may die, and SIGTERM cuts nobody off."""

from __future__ import annotations

import asyncio
import os
import signal

import httpx
import psutil

from tests.fakes.gateway import GatewayProcess
from tests.fakes.ports import free_ports
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import content, payloads, post

PROCESSES = 2


def children(gateway: GatewayProcess) -> set[int]:
    """Return the processes that serve."""
    return {child.pid for child in psutil.Process(gateway.pid).children()}


async def scrape(port: int) -> str:
    """Return the metrics of the process at `port`, once it answers."""
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(20):
        while True:
            try:
                return (await client.get(f"http://127.0.0.1:{port}/metrics")).text
            except httpx.TransportError:
                await asyncio.sleep(0.1)


async def ask(gateway: GatewayProcess, text: str) -> httpx.Response:
    """Send a request over a connection of its own, so that the kernel chooses the process."""
    async with httpx.AsyncClient(base_url=gateway.base_url, headers=gateway.client.headers, timeout=30) as client:
        return await post(client, text, stream=True, max_tokens=30)


async def test_a_process_that_dies_is_started_again_and_sigterm_drains_all(redis_server: RedisServer) -> None:
    metrics_port = free_ports(PROCESSES)
    settings = {"server.processes": PROCESSES, "telemetry.metrics_port": metrics_port}
    async with (
        EngineProcess("--model", "fake", "--itl-ms", "40") as engine,
        GatewayProcess(redis_server.url, [engine.replica.base_url], settings) as gateway,
    ):
        await gateway.ready()
        pages = [await scrape(metrics_port + number) for number in range(PROCESSES)]
        assert all("gateway_replica_ready" in page for page in pages)
        assert (await gateway.client.get("/metrics")).status_code == 404  # It would be that of any one.
        before = children(gateway)
        assert len(before) == PROCESSES

        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(30):
            while len(children(gateway) - {victim}) < PROCESSES:
                await asyncio.sleep(0.05)
        for number in range(PROCESSES):
            await scrape(metrics_port + number)
        await gateway.ready()

        words = " ".join(f"w{k}" for k in range(20))
        running = [asyncio.create_task(ask(gateway, words)) for _ in range(12)]
        await engine.eventually(seconds=10, running=12)
        served = [await scrape(metrics_port + number) for number in range(PROCESSES)]
        in_flight = [float(page.split("\ngateway_requests_in_flight ")[1].split("\n")[0]) for page in served]
        assert sum(in_flight) == 12
        gateway.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*running)
        assert {(content(answer.text), payloads(answer.text)[-1]) for answer in answers} == {
            (f"You said: {words}", "[DONE]")
        }
        assert await gateway.wait() == 0
        await engine.eventually(running=0, aborted=0)


async def test_no_process_outlives_the_one_that_keeps_it(redis_server: RedisServer) -> None:
    settings = {"server.processes": PROCESSES, "telemetry.metrics_port": free_ports(PROCESSES)}
    async with GatewayProcess(redis_server.url, ["http://127.0.0.1:1"], settings) as gateway:
        left = children(gateway)
        assert len(left) == PROCESSES
        gateway.send_signal(signal.SIGKILL)
        await gateway.wait()
        async with asyncio.timeout(20):
            while any(psutil.pid_exists(pid) for pid in left):
                await asyncio.sleep(0.05)
