"""How much memory there is for the engine, on the machine and on its GPUs."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 2**30
_CGROUPS = Path("/sys/fs/cgroup")
_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """The memory of one GPU."""

    total_gib: float
    free_gib: float


def free_gib(cgroups: Path = _CGROUPS) -> float:
    """Return the memory that a new process may take: the machine's, or what a container's limit leaves of it."""
    limit = _container_free_bytes(cgroups)
    available = psutil.virtual_memory().available
    return float(available if limit is None else min(available, limit)) / GIB


def _container_free_bytes(cgroups: Path) -> int | None:
    """Return what this container's limit leaves, None without one. File cache counts as free: the kernel drops it."""
    try:
        limit = int((cgroups / "memory.max").read_text(encoding="ascii"))
        used = int((cgroups / "memory.current").read_text(encoding="ascii"))
        lines = (cgroups / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # `max` is no number: no limit.
        return None
    cache = sum(int(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "active_file ")))
    return max(0, limit - used + cache)


def gpus() -> list[Gpu]:
    """Return the GPUs that nvidia-smi tells of; none where it is missing or does not say how much memory they have."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True)  # noqa: S603
        return [_gpu(line) for line in done.stdout.splitlines() if line.strip()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def _gpu(line: str) -> Gpu:
    total_mib, free_mib = (float(part) for part in line.split(","))
    return Gpu(total_mib / 1024, free_mib / 1024)
