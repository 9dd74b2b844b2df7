"""Servers under the benchmark's three loads, by turns: many requests at once, one at a time, many paced streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from tests.bench.load import Load
from tests.bench.measure import Measured, ProcessTree, measure
from tests.bench.processes import KEY, MODEL, Started


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure: each server in turn, `rounds` times over."""

    seconds: float = 1.0
    rounds: int = 5
    at_once: int = 64
    streams: int = 100
    stream_tokens: int = 100
    itl_ms: float = 20.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What a server did under each load."""

    many_rounds: Sequence[Measured]
    single: Measured
    streamed_rounds: Sequence[Measured]
    rss_mib: float

    @property
    def many(self) -> Measured:
        """The round of requests that cost neither much nor little among the others."""
        return typical(self.many_rounds, cost_of_request)

    @property
    def streamed(self) -> Measured:
        """The round of streams that cost neither much nor little among the others."""
        return typical(self.streamed_rounds, cost_of_chunk)

    @property
    def errors(self) -> dict[str, int]:
        """Every error that a client saw, by kind."""
        found: Counter[str] = Counter()
        for part in (*self.many_rounds, self.single, *self.streamed_rounds):
            found.update(part.errors)
        return dict(found)

    @property
    def foreign(self) -> float:
        """The largest share of the measured core that others had."""
        return max(part.foreign for part in (*self.many_rounds, *self.streamed_rounds))

    def times_request(self, reference: Trial) -> float | None:
        """Return how many times a request of `reference` one costs here: the median of the rounds' ratios."""
        return _paired(self.many_rounds, reference.many_rounds, cost_of_request)

    def times_chunk(self, reference: Trial) -> float | None:
        """Return how many times a chunk of `reference` one costs here: the median of the rounds' ratios."""
        return _paired(self.streamed_rounds, reference.streamed_rounds, cost_of_chunk)


Cost = Callable[[Measured], float | None]


def cost_of_request(round_: Measured) -> float | None:
    """Return the CPU of a request in microseconds."""
    return round_.cpu_us_per_request


def cost_of_chunk(round_: Measured) -> float | None:
    """Return the CPU of a chunk in microseconds."""
    return round_.cpu_us_per_chunk


def typical(rounds: Sequence[Measured], cost: Cost) -> Measured:
    """Return the round whose cost is the median, the lower one of two. One without a cost counts as the dearest."""
    return sorted(rounds, key=lambda each: cost(each) or float("inf"))[(len(rounds) - 1) // 2]


def _paired(rounds: Sequence[Measured], others: Sequence[Measured], cost: Cost) -> float | None:
    pairs = ((cost(mine), cost(theirs)) for mine, theirs in zip(rounds, others, strict=True))
    ratios = [mine / theirs for mine, theirs in pairs if mine and theirs]
    return median(ratios) if ratios else None


def by_turns(
    servers: Mapping[str, Started], effort: Effort, redis: ProcessTree | None = None, *, measured: bool = True
) -> dict[str, Trial]:
    """Warm all servers up, then put each in turn under a load, and again: a host's speed can halve within seconds.

    `measured` is False for the engine itself, without a gateway.
    """

    def once(server: Started, load: Load, redis: ProcessTree | None = None) -> Measured:
        return measure(replace(load, url=server.chat_url), server.tree if measured else None, redis)

    def rounds(load: Load, redis: ProcessTree | None = None) -> dict[str, list[Measured]]:
        found: dict[str, list[Measured]] = {name: [] for name in servers}
        for _ in range(effort.rounds):
            for name, server in servers.items():
                found[name].append(once(server, load, redis))
        return found

    unary = Load("", effort.at_once, effort.seconds, key=KEY, model=MODEL)
    streamed = replace(unary, concurrency=effort.streams, stream=True, tokens=effort.stream_tokens)
    for server in servers.values():
        once(server, replace(unary, seconds=min(1.0, effort.seconds)))
        once(server, replace(streamed, concurrency=min(10, effort.streams), tokens=4, seconds=0.1))
    many = rounds(unary, redis)
    single = {name: once(server, replace(unary, concurrency=1)) for name, server in servers.items()}
    paced = rounds(streamed)
    return {
        name: Trial(many[name], single[name], paced[name], server.tree.rss_mib()) for name, server in servers.items()
    }


def alone(engine: Started, effort: Effort) -> Trial:
    """Return what the engine does without a gateway, measured once."""
    return by_turns({"engine": engine}, replace(effort, rounds=1), measured=False)["engine"]


def added_p50_ms(trial: Trial, without: Trial) -> float | None:
    """Return what a server adds to the median latency of one request at a time, beside the engine alone."""
    if trial.single.p50_ms is None or without.single.p50_ms is None:
        return None
    return trial.single.p50_ms - without.single.p50_ms
