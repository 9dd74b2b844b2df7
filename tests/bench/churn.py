"""Whether requests leave anything behind, whole ones and ones whose client left: many short ones, then a close look.

    python -m tests.bench.churn [--requests N] [--seconds S] [--at-once N] [--leaving SHARE]

A real gateway with all limits on, two scripted engines and a real Redis. The limit of concurrent requests is twice what
runs at once: a leaked lease in Redis soon shows as a refusal. Prints how the requests ended, what the process had at
the beginning and the end of the second half, what is left anywhere, and the ledger beside the requests that were sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import redis
import uvloop

from tests.bench.layers import EVERYTHING
from tests.bench.leaving import MOMENTS, Door, Visitor
from tests.bench.processes import KEY, MODEL, BenchRedis, Started, bench_redis, gateway
from tests.bench.table import Cell, table
from tests.fakes.process import EngineProcess

_WARM_UP = 0.05
_ITL_MS = "2"
_REST_SECONDS = 30.0
_IDLE_SECONDS = 6.0
"""Longer than an idle connection to an engine is kept."""
_HELD_IN_REDIS = ("*:leases", "*:reservations", "*:concurrent:*", "*:lease")
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_HELD = ("gateway_replica_in_flight", "gateway_replica_prefill_tokens", "gateway_queued_requests")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to do, and in how many `seconds` at most, if not 0. `leaving`: the share whose client means to leave."""

    requests: int = 200_000
    seconds: float = 0.0
    at_once: int = 32
    leaving: float = 0.3
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Sight:
    """The gateway at a moment with nothing under way, and how much Redis keeps."""

    rss_mib: float
    objects: int
    tasks: int
    open_files: int
    redis_mib: float


@dataclass(slots=True)
class Churned:
    """What came of it."""

    ends: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    sights: dict[str, Sight] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)
    """What is still held at the end, by the gateway, in Redis or at the engines; nothing, if all is well."""
    ledger: int = 0
    sent: int = 0
    """Requests that the gateway sent to an engine, by its metrics."""
    engines_saw: int = 0

    @property
    def wrong(self) -> dict[str, int]:
        """How requests ended that should have ended otherwise."""
        return {end: count for end, count in self.ends.items() if end not in ("whole", *MOMENTS)}

    def grown(self, what: Callable[[Sight], float]) -> float:
        """Return by how much something grew in the second half."""
        return what(self.sights["end"]) - what(self.sights["half"])


async def run(plan: Plan) -> Churned:
    """Churn one gateway process."""
    churned = Churned()
    arguments = ("--model", MODEL, "--itl-ms", _ITL_MS)
    with bench_redis() as store:
        async with EngineProcess(*arguments) as one, EngineProcess(*arguments) as two:
            settings = {
                **EVERYTHING,
                "limits.concurrent_requests": str(2 * plan.at_once),
                # A busy machine may keep everything waiting; that is not what is looked at.
                "redis.timeout_seconds": "10",
                "routing.connect_timeout_seconds": "60",
                "routing.poll_timeout_seconds": "60",
                "routing.engines": f"{one.replica.base_url},{two.replica.base_url}",
            }
            engine = Started(one.replica.base_url, store.tree)
            with gateway(engine, store.url, settings, module=("tests.bench.floors", "probed")) as server:
                await _churn(plan, churned, server, store)
                await _take_stock(churned, server, store, (one, two))
    return churned


async def _churn(plan: Plan, churned: Churned, server: Started, store: BenchRedis) -> None:
    random = Random(plan.seed)
    warm_up = round(plan.requests * _WARM_UP)
    first_half = plan.requests // 2 - warm_up
    started = time.perf_counter()
    for name, requests in (("start", warm_up), ("half", first_half), ("end", plan.requests // 2)):
        seconds = plan.seconds * requests / plan.requests or float("inf")
        await _visit(plan, requests, server, random, churned.ends, time.monotonic() + seconds)
        churned.sights[name] = await _at_rest(server, store)
    churned.seconds = time.perf_counter() - started


async def _visit(plan: Plan, requests: int, server: Started, random: Random, ends: Counter[str], until: float) -> None:
    door = Door(int(server.base_url.rpartition(":")[2]), KEY, MODEL)
    shares = [requests // plan.at_once + (number < requests % plan.at_once) for number in range(plan.at_once)]
    visitors = [Visitor(door, Random(random.random()), plan.leaving, ends) for _ in shares]
    await asyncio.gather(*(visitor.visit(share, until) for visitor, share in zip(visitors, shares, strict=True)))


async def _at_rest(server: Started, store: BenchRedis) -> Sight:
    """Return what there is once all requests are done and idle connections have been closed."""
    deadline = time.monotonic() + _REST_SECONDS
    while _held_at(server) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    await asyncio.sleep(_IDLE_SECONDS)
    objects = _get(f"{server.base_url}/bench/objects")
    tasks = _get(f"{server.base_url}/bench/tasks")
    with redis.Redis.from_url(store.url) as client:
        redis_mib = client.info("memory")["used_memory"] / 2**20
    return Sight(server.tree.rss_mib(), objects, tasks, server.tree.open_files(), redis_mib)


async def _take_stock(
    churned: Churned, server: Started, store: BenchRedis, engines: tuple[EngineProcess, EngineProcess]
) -> None:
    """Look everywhere for what should not be there, and compare the ledger with what was sent."""
    churned.held = _held_at(server) | _held_in(store)
    for number, engine in enumerate(engines):
        stats = await engine.stats()
        churned.engines_saw += stats["finished"] + stats["aborted"]
        # The gateway's polls keep a connection of their own.
        left = {"running": stats["running"], "busy connections": max(0, stats["open_connections"] - 1)}
        churned.held |= {f"engine {number}: {name}": count for name, count in left.items() if count}
    churned.sent = _sent(server)
    churned.ledger = sum(row["requests"] for row in _get(f"{server.base_url}/v1/usage")["data"])


def _held_at(server: Started) -> dict[str, float]:
    """Return the gauges of what a gateway holds that are not 0; the scrape itself is one request."""
    samples = _samples(server)
    held = {f"{name}{{{labels}}}": value for name, labels, value in samples if name in _HELD and value}
    in_flight = sum(value for name, _, value in samples if name == "gateway_requests_in_flight") - 1
    return held | ({"gateway_requests_in_flight": in_flight} if in_flight else {})


def _held_in(store: BenchRedis) -> dict[str, float]:
    """Return the keys of leases and reservations that there still are; Redis deletes empty ones."""
    with redis.Redis.from_url(store.url) as client:
        keys = [key for pattern in _HELD_IN_REDIS for key in client.scan_iter(pattern)]
        return {f"Redis: {key.decode()}": 1.0 for key in keys}


def _sent(server: Started) -> int:
    """Return how many requests went to an engine: those answered, and those left after they were sent."""
    total = 0.0
    for name, labels, value in _samples(server):
        answered = name == "gateway_requests_total" and 'route="/v1/chat/completions"' in labels
        if answered and 'outcome="ok"' in labels:
            total += value
        if name == "gateway_client_gone_to_close_seconds_count" and 'phase="queued"' not in labels:
            total += value
    return round(total)


def _samples(server: Started) -> list[tuple[str, str, float]]:
    text: str = _get(f"{server.base_url}/metrics", as_text=True)
    return [(name, labels, float(value)) for name, labels, value in _SAMPLE.findall(text)]


def _get(url: str, *, as_text: bool = False) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode() if as_text else json.load(answer)


def report(plan: Plan, churned: Churned) -> str:
    """Return what there is to read."""
    rows: list[list[Cell]] = [
        [name, sight.rss_mib, sight.objects, sight.tasks, sight.open_files, sight.redis_mib]
        for name, sight in churned.sights.items()
    ]
    ends = ", ".join(f"{count:,} {end}" for end, count in churned.ends.most_common())
    lines = [
        f"{churned.ends.total():,} of {plan.requests:,} requests in {churned.seconds:,.0f} s: {ends}",
        f"ended otherwise than they should: {churned.wrong or 'none'}",
        f"still held: {churned.held or 'nothing'}",
        f"ledger {churned.ledger:,}, sent to engines {churned.sent:,}, begun there {churned.engines_saw:,}",
    ]
    head = ("moment", "RSS MiB", "objects", "tasks", "open files", "Redis MiB")
    return "\n".join([table(head, rows), "", *lines])


def main() -> None:
    """Read the command line, churn, print."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="tests.bench.churn", description="Whether requests leave anything behind.")
    parser.add_argument("--requests", type=int, default=usual.requests)
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="end after so many, whatever is left")
    parser.add_argument("--at-once", type=int, default=usual.at_once)
    parser.add_argument("--leaving", type=float, default=usual.leaving)
    options = parser.parse_args()
    plan = Plan(options.requests, options.seconds, options.at_once, options.leaving)
    print(report(plan, uvloop.run(run(plan))))


if __name__ == "__main__":
    main()
