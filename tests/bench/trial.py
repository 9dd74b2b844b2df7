"""One server under the benchmark's three loads: many requests at once, one at a time, many paced streams."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.bench.load import Load
from tests.bench.measure import Measured, ProcessTree, cheapest, measure
from tests.bench.processes import KEY, MODEL, Started


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure. Of `rounds` the cheapest counts; a longer one is less noisy."""

    seconds: float = 2.0
    rounds: int = 2
    at_once: int = 64
    streams: int = 100
    stream_tokens: int = 100
    itl_ms: float = 20.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What a server did under each load."""

    many: Measured
    single: Measured
    streamed: Measured
    rss_mib: float

    @property
    def errors(self) -> dict[str, int]:
        """Every error that a client saw, by kind."""
        found: dict[str, int] = {}
        for part in (self.many, self.single, self.streamed):
            for kind, count in part.errors.items():
                found[kind] = found.get(kind, 0) + count
        return found

    @property
    def foreign(self) -> float:
        """The largest share of the measured core that others had."""
        return max(self.many.foreign, self.streamed.foreign)


def try_out(server: Started, effort: Effort, redis: ProcessTree | None = None, *, measured: bool = True) -> Trial:
    """Warm `server` up and put it under each load. `measured` is False for the engine itself, without a gateway."""
    unary = Load(server.chat_url, effort.at_once, effort.seconds, key=KEY, model=MODEL)
    streamed = replace(unary, concurrency=effort.streams, stream=True, tokens=effort.stream_tokens)
    tree = server.tree if measured else None
    measure(replace(unary, seconds=min(1.0, effort.seconds)), tree)
    many = cheapest(effort.rounds, lambda: measure(unary, tree, redis))
    single = measure(replace(unary, concurrency=1), tree)
    measure(replace(streamed, concurrency=min(10, effort.streams), tokens=4, seconds=0.1), tree)
    paced = cheapest(effort.rounds, lambda: measure(streamed, tree))
    return Trial(many, single, paced, server.tree.rss_mib())


def added_p50_ms(trial: Trial, alone: Trial) -> float | None:
    """Return what a server adds to the median latency of one request at a time, beside the engine alone."""
    if trial.single.p50_ms is None or alone.single.p50_ms is None:
        return None
    return trial.single.p50_ms - alone.single.p50_ms
