"""What a process costs while it is under load: CPU, memory and open files of its whole tree.

CPU time holds on a busy machine where elapsed time does not. What is measured has the first core to itself, as far as
the machine is ours; the engine, Redis and the load share the second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil

from tests.bench.load import Load

ROOT = Path(__file__).resolve().parents[2]

_CORES = sorted(os.sched_getaffinity(0))
MEASURED_CORE = _CORES[0] if len(_CORES) > 1 else None
"""Where what is measured runs; None: there is one core, and all share it."""
OTHER_CORE = _CORES[1] if len(_CORES) > 1 else None


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Run this thread, and whatever it starts meanwhile, on `core`; None: anywhere."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class ProcessTree:
    """A process with all its descendants, as they are at each question."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def cpu_seconds(self) -> float:
        """Return user and system time of the living, and of the children that they have waited for."""
        return self._sum(lambda process: sum(process.cpu_times()[:4]))

    def rss_mib(self) -> float:
        """Return the resident memory; what processes share counts once for each."""
        return self._sum(lambda process: process.memory_info().rss) / 2**20

    def open_files(self) -> int:
        """Return the number of open file descriptors, sockets included."""
        return round(self._sum(lambda process: process.num_fds()))

    def processes(self) -> list[psutil.Process]:
        """Return the process and its descendants, parents first; none if it has gone."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _sum(self, read: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                total += read(process)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One load and what it cost. `foreign` is the share of the measured core that others took meanwhile."""

    ok: int
    errors: dict[str, int]
    rps: float
    cpu_seconds: float
    redis_cpu_seconds: float
    foreign: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    chunks: int = 0
    chunks_per_second: float = 0.0
    ttft_p50_ms: float | None = None
    ttft_p99_ms: float | None = None
    itl_p50_ms: float | None = None
    itl_p99_ms: float | None = None

    @property
    def cpu_us_per_request(self) -> float | None:
        """CPU of what was measured for each answered request."""
        return self.cpu_seconds / self.ok * 1e6 if self.ok else None

    @property
    def redis_us_per_request(self) -> float | None:
        """CPU of Redis for each answered request."""
        return self.redis_cpu_seconds / self.ok * 1e6 if self.ok else None

    @property
    def cpu_us_per_chunk(self) -> float | None:
        """CPU of what was measured for each streamed event."""
        return self.cpu_seconds / self.chunks * 1e6 if self.chunks else None


def measure(load: Load, tree: ProcessTree | None = None, redis: ProcessTree | None = None) -> Measured:
    """Run `load`; return what came of it and what it cost `tree` and Redis."""
    before = _cpu(tree), _cpu(redis), _busy_seconds(MEASURED_CORE)
    report = run_load(load)
    cpu, redis_cpu, busy = _cpu(tree) - before[0], _cpu(redis) - before[1], _busy_seconds(MEASURED_CORE) - before[2]
    members = {each.name for each in fields(Measured)}
    return Measured(
        cpu_seconds=cpu,
        redis_cpu_seconds=redis_cpu,
        foreign=max(0.0, busy - cpu) / report["seconds"],
        **{name: value for name, value in report.items() if name in members},
    )


def run_load(load: Load) -> dict[str, Any]:
    """Run the load generator in a process on the other core; return its report."""
    with started_load(load) as running:
        return report_of(running)


@contextmanager
def started_load(load: Load) -> Iterator[subprocess.Popen[str]]:
    """Start the load generator; its report is for `report_of`. It is killed at the end if it still runs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, on_core(OTHER_CORE):
        command = [sys.executable, "-m", "tests.bench.load", *_arguments(load, Path(folder))]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
            try:
                yield running
            finally:
                running.kill()


def report_of(running: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait until a load has ended; return its report."""
    output, _ = running.communicate()
    if running.returncode:
        raise RuntimeError("the load generator failed")
    report: dict[str, Any] = json.loads(output)
    return report


def _arguments(load: Load, folder: Path) -> list[str]:
    arguments = [load.url, "--concurrency", str(load.concurrency), "--seconds", str(load.seconds)]
    arguments += ["--requests", str(load.requests), "--tokens", str(load.tokens)]
    arguments += ["--key", load.key, "--model", load.model]
    if load.sessions:
        sessions = folder / "sessions"
        sessions.write_text("\n".join(load.sessions), encoding="ascii")
        arguments += ["--sessions", str(sessions)]
    return [*arguments, "--stream"] if load.stream else arguments


def _cpu(tree: ProcessTree | None) -> float:
    return tree.cpu_seconds() if tree else 0.0


def _busy_seconds(core: int | None) -> float:
    """Return how long a core has worked for anybody, or was taken away by the host."""
    if core is None:
        return 0.0
    times = psutil.cpu_times(percpu=True)[core]
    return times.user + times.nice + times.system + times.steal
