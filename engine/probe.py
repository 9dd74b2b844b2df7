"""Is the engine there, and does it move? `/health` says the first; only its step counter says the second.

A hung vLLM keeps answering `/health` with 200. So it counts as hung when requests run and the engine's step counter
stands still for engine.hang_seconds. `python -m engine.probe` asks that as a container's liveness check.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from config import SettingsError, load_settings

RUNNING = "vllm:num_requests_running"
STEPS = "vllm:iteration_tokens_total_count"
_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look found. `steps` is None where the engine's metrics could not be read."""

    healthy: bool
    running: float = 0.0
    steps: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The step count last seen, and since when it has been that with requests running."""

    steps: float | None = None
    since: float = 0.0


NEVER_READ = Progress()


def watch(progress: Progress, reading: Reading, now: float) -> Progress:
    """Return the progress after `reading`: the clock starts anew whenever the engine moved or had nothing to do."""
    still = reading.running > 0 and reading.steps is not None and reading.steps == progress.steps
    return progress if still else Progress(reading.steps, now)


def is_hung(progress: Progress, now: float, hang_seconds: float) -> bool:
    """Whether the engine has had work and made no step for so long. An engine that was never read is not hung."""
    return progress.steps is not None and now - progress.since >= hang_seconds


def parse_metrics(text: str) -> tuple[float, float | None]:
    """Return requests running and the step count, summed over the engine's parts; no step count is None."""
    running, steps = 0.0, None
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith(RUNNING):
            running += float(value)
        elif name.startswith(STEPS):
            steps = (steps or 0.0) + float(value)
    return running, steps


async def read(client: httpx.AsyncClient) -> Reading:
    """Look once. `client` has the engine's base URL. A silent engine is an unhealthy reading, never an exception."""
    try:
        health = await client.get("/health")
        if health.status_code != httpx.codes.OK:
            return Reading(healthy=False)
        metrics = await client.get("/metrics")
        running, steps = parse_metrics(metrics.text)
    except (httpx.HTTPError, ValueError):
        return Reading(healthy=False)
    return Reading(healthy=True, running=running, steps=steps)


def client_for(host: str, port: int) -> httpx.AsyncClient:
    """Return a client for `read()`; the caller closes it."""
    return httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=_TIMEOUT_SECONDS, trust_env=False)


def check(reading: Reading, hang_seconds: float, memory: Path, now: float) -> str | None:
    """Return what is wrong, or None. What must be remembered until the next check is kept in the file `memory`."""
    if not reading.healthy:
        return "the engine does not answer /health with 200"
    progress = watch(_recall(memory), reading, now)
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps(asdict(progress)), encoding="utf-8")
    if is_hung(progress, now, hang_seconds):
        return f"the engine has had requests and made no step for {now - progress.since:.0f} s"
    return None


async def _read_once(host: str, port: int) -> Reading:
    async with client_for(host, port) as client:
        return await read(client)


def _recall(memory: Path) -> Progress:
    try:
        kept = json.loads(memory.read_text(encoding="utf-8"))
        return Progress(kept["steps"], kept["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return NEVER_READ


def main() -> int:
    """Check once; exit code 0 or 1 with a sentence."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    engine = settings.engine
    memory = settings.data_dir / "engine-probe.json"
    reading = asyncio.run(_read_once(engine.host, engine.port))
    problem = check(reading, engine.hang_seconds, memory, time.time())
    print(problem or "ok")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
