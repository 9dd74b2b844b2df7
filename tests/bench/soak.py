"""Whether a gateway process keeps what it does not need: many requests, then many streams at once, then nothing.

    python -m tests.bench.soak [--requests N] [--streams N]

Prints errors, memory before, during and after, the memory of an open stream, and the files and tasks left over.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from tests.bench.layers import EVERYTHING
from tests.bench.load import Load
from tests.bench.measure import report_of, run_load, started_load
from tests.bench.processes import KEY, MODEL, Started, bench_redis, gateway, simulated_engine
from tests.bench.table import Cell, shown, table

_ITL_MS = 250.0
"""So slow that the memory of a stream is looked at and not the speed of this machine."""

_AT_ONCE = 64
_SETTLED = 0.98
"""The share of the streams that must be open together when they are looked at."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to do. A stream lasts `stream_tokens` times 250 ms; idle connections end after some seconds."""

    requests: int = 10_000
    streams: int = 1_000
    stream_tokens: int = 40
    idle_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Sight:
    """A process at a moment."""

    rss_mib: float
    open_files: int
    tasks: int


@dataclass(slots=True)
class Soaked:
    """What the gateway looked like, moment by moment, and what its clients saw."""

    sights: dict[str, Sight] = field(default_factory=dict)
    answered: int = 0
    streamed: int = 0
    streams_at_sight: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def kib_per_stream(self) -> float | None:
        """How much the process grew by for each stream that was open, beyond what requests had made of it."""
        if not self.streams_at_sight:
            return None
        grown = self.sights["streams open"].rss_mib - self.sights["after requests"].rss_mib
        return grown * 1024 / self.streams_at_sight

    def noted(self, report: dict[str, Any]) -> int:
        """Take in a load's errors; return how many of its requests were answered."""
        for kind, count in report["errors"].items():
            self.errors[kind] = self.errors.get(kind, 0) + count
        return int(report["ok"])


def run(plan: Plan) -> Soaked:
    """Soak one gateway process with everything on."""
    soaked = Soaked()
    with (
        bench_redis() as redis,
        simulated_engine(_ITL_MS) as engine,
        gateway(
            engine, redis.url, {**EVERYTHING, **_room_for(plan)}, module=("tests.bench.floors", "probed")
        ) as server,
    ):
        warm_up = Load(server.chat_url, 8, requests=min(500, plan.requests), key=KEY, model=MODEL)
        run_load(warm_up)
        soaked.sights["before"] = _look(server)
        requests = Load(server.chat_url, _AT_ONCE, requests=plan.requests, key=KEY, model=MODEL)
        soaked.answered = soaked.noted(run_load(requests))
        soaked.sights["after requests"] = _look(server)
        _stream(soaked, server, engine, plan)
        soaked.sights["after streams"] = _look(server)
        time.sleep(plan.idle_seconds)
        soaked.sights["after idle"] = _look(server)
    return soaked


def _room_for(plan: Plan) -> dict[str, str]:
    """Return the settings that let every stream go to the one engine at once."""
    return {"routing.max_in_flight": str(2 * plan.streams), "routing.max_prefill_tokens": str(1000 * plan.streams)}


def _stream(soaked: Soaked, server: Started, engine: Started, plan: Plan) -> None:
    """Open all streams, look at the gateway while they run, and let them end."""
    load = Load(
        server.chat_url,
        plan.streams,
        requests=plan.streams,
        stream=True,
        tokens=plan.stream_tokens,
        key=KEY,
        model=MODEL,
    )
    with started_load(load) as running:
        soaked.streams_at_sight = _most_streams(engine, running, round(plan.streams * _SETTLED))
        soaked.sights["streams open"] = _look(server)
        soaked.streamed = soaked.noted(report_of(running))


def _most_streams(engine: Started, running: subprocess.Popen[str], wanted: int) -> int:
    """Return how many streams the engine runs, as soon as they are `wanted` or the load has ended without."""
    while (open_now := _running(engine)) < wanted and running.poll() is None:
        time.sleep(0.02)
    return open_now


def _running(engine: Started) -> int:
    return int(_get(f"{engine.base_url}/sim")["running"])


def _look(server: Started) -> Sight:
    return Sight(server.tree.rss_mib(), server.tree.open_files(), int(_get(f"{server.base_url}/bench/tasks")))


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def report(plan: Plan, soaked: Soaked) -> str:
    """Return what there is to read."""
    rows: list[list[Cell]] = [
        [name, sight.rss_mib, sight.open_files, sight.tasks] for name, sight in soaked.sights.items()
    ]
    lines = [
        f"answered: {soaked.answered:,} of {plan.requests:,} requests, {soaked.streamed:,} of {plan.streams:,} streams",
        f"errors: {soaked.errors or 'none'}",
        f"memory of an open stream: {shown(soaked.kib_per_stream)} KiB (with {soaked.streams_at_sight:,} open)",
    ]
    return "\n".join([table(("moment", "RSS MiB", "open files", "tasks"), rows), "", *lines])


def main() -> None:
    """Read the command line, soak, print."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="tests.bench.soak", description="Whether a gateway process leaks.")
    parser.add_argument("--requests", type=int, default=usual.requests)
    parser.add_argument("--streams", type=int, default=usual.streams)
    options = parser.parse_args()
    plan = Plan(options.requests, options.streams)
    print(report(plan, run(plan)))


if __name__ == "__main__":
    main()
