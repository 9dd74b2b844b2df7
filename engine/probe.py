"""Is the engine there, and does it move? `/health` says the first; only its step counter says the second.

A hung vLLM keeps answering `/health` with 200. So it counts as hung when it has work and its step counter stands still
for engine.hang_seconds. What vLLM says of running requests comes from the part that hangs: if it hung while idle, or in
the first step of a request, it goes on saying that nothing runs. So an engine that says so is asked for one token now
and then, and a question that is not answered is work too. (vLLM's `/load` counts what is under way without asking, but
never forgets a stream that its client left, and so would call a healthy engine hung.)

`python -m engine.probe` asks all that once, as a container's liveness check.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import httpx

from config import EngineSettings, SettingsError, load_settings
from engine.address import base_url

RUNNING = "vllm:num_requests_running"
STEPS = "vllm:iteration_tokens_total_count"
STARTED = "process_start_time_seconds"
_TIMEOUT_SECONDS = 5.0
_NUDGES_PER_HANG = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look found. `steps` is None where the engine's metrics could not be read.

    `started` tells one run of the engine from the next, which counts its steps from 0 again.
    """

    healthy: bool
    running: float = 0.0
    steps: float | None = None
    started: float | None = None

    @property
    def idle(self) -> bool:
        """Whether it counts its steps and says that it has nothing to do."""
        return self.healthy and self.running == 0 and self.steps is not None


@dataclass(frozen=True, slots=True)
class Progress:
    """The step count last seen, since when it has been that with work to do, and the run that it belongs to."""

    steps: float | None = None
    since: float = 0.0
    started: float | None = None


NEVER_READ = Progress()


def watch(progress: Progress, reading: Reading, now: float) -> Progress:
    """Return the progress after `reading`: the clock starts anew whenever the engine moved or had nothing to do."""
    same = (reading.steps, reading.started) == (progress.steps, progress.started)
    still = reading.running > 0 and reading.steps is not None and same and progress.since <= now
    return progress if still else Progress(reading.steps, now, reading.started)


def is_hung(progress: Progress, now: float, hang_seconds: float) -> bool:
    """Whether the engine has had work and made no step for so long. An engine that was never read is not hung."""
    return progress.steps is not None and now - progress.since >= hang_seconds


def reading_of(metrics: str) -> Reading:
    """Return what a healthy engine's metrics say, summed over its parts."""
    running, steps, started = 0.0, None, None
    try:
        for line in metrics.splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith(RUNNING):
                running += float(value)
            elif name.startswith(STEPS):
                steps = (steps or 0.0) + float(value)
            elif name == STARTED:
                started = float(value)
    except ValueError:
        return Reading(healthy=True)
    return Reading(healthy=True, running=running, steps=steps, started=started)


class Lookout:
    """Looks at one engine. A silent engine is an unhealthy reading, never an exception."""

    def __init__(self, client: httpx.AsyncClient, settings: EngineSettings) -> None:
        """`client` has the engine's base URL."""
        self._client = client
        self._model = settings.served_model_name
        self._timeout_seconds = min(_TIMEOUT_SECONDS, settings.hang_seconds)

    async def read(self) -> Reading:
        """Look once."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                health = await self._client.get("/health")
                if health.status_code != httpx.codes.OK:
                    return Reading(healthy=False)
                metrics = await self._client.get("/metrics")
        except (httpx.HTTPError, TimeoutError):
            return Reading(healthy=False)
        return reading_of(metrics.text)

    async def nudge(self, reading: Reading) -> Reading:
        """Ask an idle engine for one token: left unanswered, it counts as a running request. Any answer will do."""
        body = {"model": self._model, "prompt": "1", "max_tokens": 1, "temperature": 0}
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._client.post("/v1/completions", json=body)
        except (httpx.TimeoutException, TimeoutError):
            return replace(reading, running=1.0)
        except httpx.HTTPError:
            return reading
        return reading


class PatientLookout:
    """A lookout that looks often and nudges seldom: only after the engine has been idle for a while."""

    def __init__(self, lookout: Lookout, hang_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lookout = lookout
        self._nudge_seconds = hang_seconds / _NUDGES_PER_HANG
        self._clock = clock
        self._steps: float | None = None
        self._moved_at = clock()

    async def look(self) -> Reading:
        """Look once, and nudge where that is due."""
        reading = await self._lookout.read()
        if not reading.idle or reading.steps != self._steps:
            self._steps, self._moved_at = reading.steps, self._clock()
        elif self._clock() - self._moved_at >= self._nudge_seconds:
            reading = await self._lookout.nudge(reading)
            if reading.idle:
                self._moved_at = self._clock()
        return reading


def client_for(host: str, port: int) -> httpx.AsyncClient:
    """Return a client for a lookout; the caller closes it."""
    return httpx.AsyncClient(base_url=base_url(host, port), timeout=_TIMEOUT_SECONDS, trust_env=False)


def check(progress: Progress, reading: Reading, now: float, hang_seconds: float) -> tuple[Progress, str | None]:
    """Return what to remember until the next check, and what is wrong or None."""
    if not reading.healthy:
        # What comes after it is another run, or the same one after a silence: old counts say nothing of it.
        return NEVER_READ, "the engine does not answer /health with 200"
    progress = watch(progress, reading, now)
    if is_hung(progress, now, hang_seconds):
        return progress, f"the engine has had requests and made no step for {now - progress.since:.0f} s"
    return progress, None


def recall(memory: Path) -> Progress:
    """Return what the last check left in `memory`; nothing sensible is nothing."""
    try:
        kept = json.loads(memory.read_text(encoding="utf-8"))
        steps, started = (None if kept[name] is None else float(kept[name]) for name in ("steps", "started"))
        return Progress(steps, float(kept["since"]), started)
    except (OSError, ValueError, KeyError, TypeError):
        return NEVER_READ


def remember(memory: Path, progress: Progress) -> None:
    """Leave `progress` for the next check. Whole or not at all: two checks may run at once."""
    memory.parent.mkdir(parents=True, exist_ok=True)
    scratch = memory.with_name(f"{memory.name}.{os.getpid()}")
    scratch.write_text(json.dumps(asdict(progress)), encoding="utf-8")
    scratch.replace(memory)


async def _look_once(settings: EngineSettings, before: Progress) -> Reading:
    async with client_for(settings.host, settings.port) as client:
        lookout = Lookout(client, settings)
        reading = await lookout.read()
        if reading.idle and reading.steps == before.steps:
            return await lookout.nudge(reading)
        return reading


def main() -> int:
    """Check once; exit code 0 or 1 with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m engine.probe", description="Is the engine there, does it move?")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings")
    try:
        settings = load_settings(config_file=parser.parse_args().config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    memory = settings.data_dir / "engine-probe.json"
    before = recall(memory)
    reading = asyncio.run(_look_once(settings.engine, before))
    progress, problem = check(before, reading, time.time(), settings.engine.hang_seconds)
    try:
        remember(memory, progress)
    except OSError as error:
        # A healthy engine must not be restarted for this; only hangs cannot be told from now on.
        print(f"{memory} cannot be written, so a hung engine is not found: {error.strerror}", file=sys.stderr)
    print(problem or "ok")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
