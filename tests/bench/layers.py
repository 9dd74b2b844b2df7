"""What each layer of the gateway costs, from a bare relay to everything on: `make bench`.

    python -m tests.bench.layers [--seconds S] [--rounds N]

The servers share a core and are measured by turns; the simulated engine, Redis and the load share another. A cost is
the median of the rounds, a ratio the median of the rounds' ratios. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import httpx

from tests.bench.load import Load
from tests.bench.measure import Measured, measure
from tests.bench.processes import KEY, MODEL, BenchRedis, Started, bench_redis, gateway, simulated_engine
from tests.bench.table import Cell, listed, percent, ratio, table
from tests.bench.trial import Effort, Trial, added_p50_ms, alone, by_turns

_UNLIMITED = {
    "limits.requests_per_minute": "0",
    "limits.requests_per_hour": "0",
    "limits.usage_retention_days": "0",
}
_NEVER_REACHED = {
    "limits.requests_per_minute": "1000000000",
    "limits.requests_per_hour": "1000000000",
    "limits.tokens_per_minute": "1000000000",
    "limits.tokens_per_day": "1000000000",
    "limits.concurrent_requests": "1000000",
}
_SILENT = {"telemetry.log_level": "warning"}
_MANY_SESSIONS = {"sessions.max_per_user": "100000"}
EVERYTHING = {**_NEVER_REACHED, **_MANY_SESSIONS, "telemetry.log_level": "info"}
"""All limits of a user (far from reached), authentication, metrics, and the log line, written to a file."""

_EFFORT = Effort()
_SESSIONS = 256
_TURNS = 4

HEAD = (
    *("layer", "CPU µs / request", "× relay", "CPU µs / chunk", "× relay", "added p50 ms", "requests/s"),
    *("RSS MiB", "Redis µs / request", "errors", "foreign"),
)


@dataclass(frozen=True, slots=True)
class Layer:
    """A server with all layers up to this one."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    module: Sequence[str] = ("gateway",)

    @contextmanager
    def running(self, engine: Started, redis: BenchRedis) -> Iterator[Started]:
        """Run it in front of `engine`."""
        with gateway(engine, redis.url, self.settings, module=self.module) as started:
            yield started


LAYERS = (
    Layer("bare relay", _SILENT, ("tests.bench.floors", "relay")),
    Layer("+ context, metrics", _SILENT, ("tests.bench.floors", "context")),
    Layer("+ identity", _SILENT, ("tests.bench.floors", "authenticated")),
    Layer("+ the pipeline", {**_UNLIMITED, **_SILENT}),
    Layer("+ limits and the ledger in Redis", {**_NEVER_REACHED, **_SILENT}),
    Layer("everything: + the log line", EVERYTHING),
)


@dataclass(frozen=True, slots=True)
class SessionTurn:
    """One turn in a session, and right after it a request without one, on the same server."""

    turn: Measured
    rest: Measured

    @property
    def times_rest(self) -> float | None:
        """How many times a request without a session a turn costs."""
        return ratio(self.turn.cpu_us_per_request, self.rest.cpu_us_per_request)


@dataclass(frozen=True, slots=True)
class Report:
    """Every layer's trial, the cost of a session's turn, and what the engine does alone."""

    alone: Trial
    layers: dict[str, Trial]
    session: SessionTurn

    def rows(self) -> list[list[Cell]]:
        """Return the table's rows."""
        relay = next(iter(self.layers.values()))
        rows = [_row(name, trial, relay, self.alone) for name, trial in self.layers.items()]
        return [*rows, *self._session_rows(relay)]

    def _session_rows(self, relay: Trial) -> list[list[Cell]]:
        """Return what a turn costs, and what of it is for the session: all that the last layer does not cost too."""
        turn, rest = self.session.turn, self.session.rest
        everything, times_rest = list(self.layers.values())[-1].times_request(relay), self.session.times_rest
        session_us = _less(turn.cpu_us_per_request, rest.cpu_us_per_request)
        session_redis_us = _less(turn.redis_us_per_request, rest.redis_us_per_request)
        return [
            [
                *(f"one turn in a session ({_TURNS} turns each)", turn.cpu_us_per_request),
                *(_times(everything, times_rest), None, None, None),
                *(turn.rps, None, turn.redis_us_per_request, listed(turn.errors), None),
            ],
            [
                *(f"of it recall and append: {percent(times_rest - 1) if times_rest else '–'} of the rest", session_us),
                *(_times(everything, _less(times_rest, 1)), None, None, None),
                *(None, None, session_redis_us, None, None),
            ],
        ]


def run(effort: Effort, layers: Sequence[Layer] = LAYERS, sessions: int = _SESSIONS) -> Report:
    """Measure all layers by turns, and a session's turn on the last. The first is what the others are compared to."""
    with bench_redis() as redis, simulated_engine(effort.itl_ms) as engine, ExitStack() as running:
        without = alone(engine, effort)
        servers = {layer.name: running.enter_context(layer.running(engine, redis)) for layer in layers}
        trials = by_turns(servers, effort, redis.tree)
        session = _session(servers[layers[-1].name], effort, redis, sessions)
    return Report(without, trials, session)


def _session(server: Started, effort: Effort, redis: BenchRedis, count: int) -> SessionTurn:
    """Return the round in which a turn cost neither much nor little beside the request after it."""
    load = Load(server.chat_url, effort.at_once, effort.seconds, key=KEY, model=MODEL)
    rounds = [
        SessionTurn(_session_turn(server, effort, redis, count), measure(load, server.tree, redis.tree))
        for _ in range(effort.rounds)
    ]
    return sorted(rounds, key=lambda each: each.times_rest or float("inf"))[(len(rounds) - 1) // 2]


def _session_turn(server: Started, effort: Effort, redis: BenchRedis, count: int) -> Measured:
    """Return the cost of a request that recalls a session and appends to it; none ever waits for another's."""
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=server.base_url, headers=headers, trust_env=False) as client:
        ids = tuple(client.post("/v1/sessions").raise_for_status().json()["id"] for _ in range(count))
    at_once = min(effort.at_once, count // 2)
    load = Load(server.chat_url, at_once, requests=count * _TURNS, key=KEY, model=MODEL, sessions=ids)
    return measure(load, server.tree, redis.tree)


def _less(cost: float | None, other: float | None) -> float | None:
    return None if cost is None or other is None else cost - other


def _times(times: float | None, of_it: float | None) -> float | None:
    return None if times is None or of_it is None else times * of_it


def _row(name: str, trial: Trial, relay: Trial, alone: Trial) -> list[Cell]:
    return [
        *(name, trial.many.cpu_us_per_request, trial.times_request(relay)),
        *(trial.streamed.cpu_us_per_chunk, trial.times_chunk(relay)),
        *(added_p50_ms(trial, alone), trial.many.rps, trial.rss_mib, trial.many.redis_us_per_request),
        *(listed(trial.errors), percent(trial.foreign)),
    ]


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="tests.bench.layers", description="What each layer of the gateway costs.")
    parser.add_argument("--seconds", type=float, default=_EFFORT.seconds, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=_EFFORT.rounds, help="measurements of each; the median counts")
    options = parser.parse_args()
    print(table(HEAD, run(Effort(seconds=options.seconds, rounds=options.rounds)).rows()))


if __name__ == "__main__":
    main()
