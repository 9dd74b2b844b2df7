"""What `nvidia-smi` says of the GPUs of this machine; an empty list where there is none."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

_QUERY = ("name", "memory.total", "memory.used", "utilization.gpu", "temperature.gpu")
_TIMEOUT_SECONDS = 3.0


def read_gpus() -> list[dict[str, Any]]:
    """Return one entry a GPU. Blocks for up to three seconds: to be called in a thread."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    arguments = [command, f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        # Fixed arguments and a path found by the system: nothing here comes from a request.
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> list[dict[str, Any]]:
    """Return the entries of nvidia-smi's CSV; a value it cannot tell (`[N/A]`) is None."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    return [
        {
            "name": row[0],
            "memory_total_mib": _number(row[1]),
            "memory_used_mib": _number(row[2]),
            "utilization_percent": _number(row[3]),
            "temperature_celsius": _number(row[4]),
        }
        for row in rows
        if len(row) == len(_QUERY)
    ]


def _number(cell: str) -> int | None:
    return int(cell) if cell.isdigit() else None
