"""What the engine client costs: CPU of this process per request and per streamed chunk, ours beside httpx.

    python -m tests.bench.client_cost [--requests N] [--streams N] [--tokens N]

The scripted engine is another process and does not count. Streams are paced, so that each chunk is a read of its own,
as with a real engine. Read the ratio; the absolute figures are the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable

import uvloop

from gateway.domain import EngineClient, EngineRequest, Replica
from gateway.upstream.client import EngineConnections
from tests.contract.httpx_client import HttpxEngineClient
from tests.fakes.process import EngineProcess

CLIENTS: dict[str, Callable[[], EngineClient]] = {"ours": EngineConnections, "httpx 0.28": HttpxEngineClient}
AT_ONCE = 64
HEADERS = (("content-type", "application/json"), ("accept", "application/json"), ("x-request-id", "req_bench"))


def chat(stream: bool, tokens: int) -> EngineRequest:
    """Return a request for `tokens` tokens."""
    body = {"model": "gemma-3n", "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    body |= {"max_tokens": tokens, "ignore_eos": True}
    if stream:
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    return EngineRequest("POST", "/v1/chat/completions", json.dumps(body).encode(), HEADERS)


async def ask(client: EngineClient, replica: Replica, request: EngineRequest) -> int:
    """Ask, read all, return the number of reads."""
    stream = await client.open(replica, request)
    reads = 0
    while await stream.read():
        reads += 1
    stream.close()
    return reads


async def many(client: EngineClient, replica: Replica, request: EngineRequest, count: int, at_once: int) -> int:
    """Ask `count` times, `at_once` at a time; return the number of reads."""
    left = iter(range(count))

    async def worker() -> int:
        return sum([await ask(client, replica, request) for _ in left])

    return sum(await asyncio.gather(*(worker() for _ in range(at_once))))


async def cost_of_requests(client: EngineClient, replica: Replica, count: int) -> float:
    """Return CPU seconds per request that is not streamed."""
    unary = chat(stream=False, tokens=16)
    await many(client, replica, unary, 500, AT_ONCE)
    before = time.process_time()
    await many(client, replica, unary, count, AT_ONCE)
    return (time.process_time() - before) / count


async def cost_of_chunks(client: EngineClient, replica: Replica, streams: int, tokens: int) -> tuple[float, float]:
    """Return CPU seconds per chunk, and chunks per read: more than 1 means that this process fell behind."""
    chunks = streams * (tokens + 3)
    before = time.process_time()
    reads = await many(client, replica, chat(True, tokens), streams, streams)
    return (time.process_time() - before) / chunks, chunks / reads


async def main(arguments: argparse.Namespace) -> None:
    """Measure each client in turn, over TCP."""
    print(f"{'client':<12} {'µs/request':>11} {'µs/chunk':>9} {'chunks/read':>12}")
    async with EngineProcess() as fast, EngineProcess("--itl-ms", "20") as paced:
        for name in CLIENTS:
            client = CLIENTS[name]()
            request = await cost_of_requests(client, fast.replica, arguments.requests)
            chunk, merged = await cost_of_chunks(client, paced.replica, arguments.streams, arguments.tokens)
            await client.aclose()
            print(f"{name:<12} {request * 1e6:>11.1f} {chunk * 1e6:>9.1f} {merged:>12.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=200)
    uvloop.run(main(parser.parse_args()))
