"""Our gateway beside others, all in front of the same simulated engine: `make bench-peers`.

    python -m tests.bench.peers [--only NAME,…] [--seconds S] [--rounds N]

The others are installed below `.bench/`, in environments of their own, once. All share the measured core and are
measured by turns: a cost is the median of the rounds, a ratio the median of the rounds' ratios. Ours has everything on;
theirs do what their defaults do. One that cannot be installed or started is a row with the reason.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench.layers import EVERYTHING
from tests.bench.measure import ROOT
from tests.bench.processes import (
    KEY,
    MODEL,
    NotStarted,
    Started,
    bench_redis,
    gateway,
    measured_server,
    simulated_engine,
)
from tests.bench.table import Cell, listed, percent, shown, table
from tests.bench.trial import Effort, Trial, added_p50_ms, alone, by_turns
from tests.fakes.ports import free_port

ENVIRONMENTS = ROOT / ".bench"
OURS = "gemma-gateway, everything on"
REFERENCE = "vllm-router 0.1.17"

_EFFORT = Effort(seconds=1.5)
_START_SECONDS = 120.0
"""LiteLLM takes half a minute where it has a core to itself."""

_LITELLM_CONFIG = f"""\
model_list:
  - model_name: {MODEL}
    litellm_params: {{model: hosted_vllm/{MODEL}, api_base: "ENGINE/v1", api_key: none}}
general_settings: {{master_key: {KEY}}}
litellm_settings: {{drop_params: true}}
"""

HEAD = (
    *("gateway", "CPU µs / request", "× vllm-router", "CPU µs / chunk", "× vllm-router", "added p50 ms"),
    *("requests/s", "TTFT p50 ms", "ITL p50 / p99 ms", "RSS MiB", "errors", "foreign"),
)


class NotInstalled(Exception):
    """An environment could not be made; the message is the last line of what pip said."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer is to run: what it is given for its command line."""

    port: int
    metrics_port: int
    engine_url: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Peer:
    """Another gateway. `environment` is the folder below `.bench/`, shared by peers with the same requirements."""

    name: str
    environment: str
    requirements: Sequence[str]
    command: Callable[[Place], Sequence[str]]
    """Its first word is a program of the environment."""
    ready_path: str = "/health"
    variables: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self, engine: Started) -> Iterator[Started]:
        """Install it where it is not, and run it. Raises NotInstalled, NotStarted."""
        programs = install(ENVIRONMENTS / self.environment, self.requirements) / "bin"
        with tempfile.TemporaryDirectory(prefix="bench-peer-") as folder:
            place = Place(free_port(), free_port(), engine.base_url, Path(folder))
            program, *arguments = self.command(place)
            with measured_server(
                [str(programs / program), *arguments],
                place.port,
                Path(folder) / "log",
                variables=self.variables,
                ready_path=self.ready_path,
                patience_seconds=_START_SECONDS,
            ) as started:
                yield started


def install(environment: Path, requirements: Sequence[str]) -> Path:
    """Return `environment` with `requirements` in it, made unless it is there already. Raises NotInstalled."""
    done = environment / "installed.txt"
    wanted = "\n".join(requirements)
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return environment
    print(f"… installing {' '.join(requirements)} into {environment.name}", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", str(environment)])
    _run([str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *requirements])
    done.write_text(wanted, encoding="utf-8")
    return environment


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalled(said[-1] if said else f"{command[0]} ended with {done.returncode}")


def _vllm_router(place: Place) -> Sequence[str]:
    return [
        *("vllm-router", "--worker-urls", place.engine_url, "--host", "127.0.0.1", "--port", str(place.port)),
        *("--policy", "round_robin", "--prometheus-port", str(place.metrics_port)),
    ]


def _smg(place: Place) -> Sequence[str]:
    return [
        *("smg", "launch", "--worker-urls", place.engine_url, "--host", "127.0.0.1", "--port", str(place.port)),
        *("--policy", "round_robin", "--prometheus-port", str(place.metrics_port)),
    ]


def _litellm(place: Place) -> Sequence[str]:
    config = place.folder / "litellm.yaml"
    config.write_text(_LITELLM_CONFIG.replace("ENGINE", place.engine_url), encoding="utf-8")
    arguments = ["--config", str(config), "--host", "127.0.0.1", "--port", str(place.port), "--num_workers", "1"]
    return ["litellm", *arguments, "--telemetry", "False"]


_RUST = ("vllm-router==0.1.17", "smg==1.13.0")
PEERS = (
    Peer(REFERENCE, "rust", _RUST, _vllm_router),
    Peer("smg 1.13.0", "rust", _RUST, _smg),
    Peer(
        "LiteLLM proxy 1.106.2",
        "litellm",
        ("litellm[proxy]==1.106.2",),
        _litellm,
        ready_path="/health/liveliness",
        # Production mode as its documentation asks for; no price list from the network at the start.
        variables={"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    ),
)


Outcome = Trial | str
"""A trial, or the reason why there is none."""


def run(effort: Effort, peers: Sequence[Peer] = PEERS) -> tuple[Trial, dict[str, Outcome]]:
    """Measure the engine alone, then ours and the peers by turns."""
    with bench_redis() as redis, simulated_engine(effort.itl_ms) as engine, ExitStack() as running:
        without = alone(engine, effort)
        servers = {OURS: running.enter_context(gateway(engine, redis.url, EVERYTHING))}
        reasons: dict[str, Outcome] = {}
        for peer in peers:
            print(f"… {peer.name}", file=sys.stderr, flush=True)
            try:
                servers[peer.name] = running.enter_context(peer.running(engine))
            except NotInstalled as error:
                reasons[peer.name] = f"could not be installed: {error}"
            except NotStarted as error:
                reasons[peer.name] = f"did not start: {error}"
        return without, {**by_turns(servers, effort), **reasons}


def rows(alone: Trial, outcomes: Mapping[str, Outcome]) -> list[list[Cell]]:
    """Return the table's rows; a peer without a trial has its reason in the second column."""
    found = outcomes.get(REFERENCE)
    reference = found if isinstance(found, Trial) else None
    made: list[list[Cell]] = []
    for name, outcome in outcomes.items():
        if isinstance(outcome, str):
            made.append([name, outcome, *[None] * (len(HEAD) - 2)])
        else:
            made.append(_row(name, outcome, alone, reference))
    return made


def _row(name: str, trial: Trial, alone: Trial, reference: Trial | None) -> list[Cell]:
    streamed = trial.streamed
    return [
        *(name, trial.many.cpu_us_per_request, trial.times_request(reference) if reference else None),
        *(streamed.cpu_us_per_chunk, trial.times_chunk(reference) if reference else None),
        *(added_p50_ms(trial, alone), trial.many.rps, streamed.ttft_p50_ms),
        f"{shown(streamed.itl_p50_ms)} / {shown(streamed.itl_p99_ms)}",
        *(trial.rss_mib, listed(trial.errors), percent(trial.foreign)),
    ]


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="tests.bench.peers", description="Our gateway beside others.")
    parser.add_argument("--only", default="", help="names of peers, or their beginnings, separated by commas")
    parser.add_argument("--seconds", type=float, default=_EFFORT.seconds, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=_EFFORT.rounds, help="measurements of each; the median counts")
    options = parser.parse_args()
    wanted = tuple(options.only.split(","))
    peers = [peer for peer in PEERS if peer.name.startswith(wanted)]
    alone, outcomes = run(replace(_EFFORT, seconds=options.seconds, rounds=options.rounds), peers)
    print(table(HEAD, rows(alone, outcomes)))


if __name__ == "__main__":
    main()
