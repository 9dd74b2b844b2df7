"""Read vLLM's own metrics."""

from __future__ import annotations

import time

import httpx

RUNNING = "vllm:num_requests_running"
KV_CACHE = "vllm:kv_cache_usage_perc"


def value(client: httpx.Client, name: str) -> float:
    """Return the sum of a metric's samples."""
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + "{"))


def wait_for_idle(client: httpx.Client, timeout_seconds: float) -> float:
    """Return the seconds until vLLM runs nothing; fail after `timeout_seconds`."""
    started = time.monotonic()
    while value(client, RUNNING) > 0:
        assert time.monotonic() - started < timeout_seconds, "vLLM still runs a request"
        time.sleep(0.02)
    return time.monotonic() - started
