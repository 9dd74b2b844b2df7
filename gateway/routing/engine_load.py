"""What vLLM's `/metrics` say of an engine's load. Pure.

Names: https://docs.vllm.ai/en/latest/usage/metrics/. Those of older versions (`gpu_cache_usage_perc`) are gone.
"""

from __future__ import annotations

from dataclasses import dataclass

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_CACHE = "vllm:kv_cache_usage_perc"
_QUERIES = "vllm:prefix_cache_queries_total"
_HITS = "vllm:prefix_cache_hits_total"
_GENERATED = "vllm:generation_tokens_total"


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """As old as the last poll. `kv_cache_use` is from 0 to 1; the others are tokens since the engine's start."""

    running: int = 0
    waiting: int = 0
    kv_cache_use: float = 0.0
    prefix_queries: int = 0
    prefix_hits: int = 0
    generated_tokens: int = 0


UNKNOWN_LOAD = EngineLoad()


def engine_load(text: str) -> EngineLoad:
    """Return the load that `text`, in Prometheus's format, tells; zeros for what it does not. Raises ValueError."""
    return EngineLoad(
        running=int(sum(_values(text, _RUNNING))),
        waiting=int(sum(_values(text, _WAITING))),
        kv_cache_use=max(_values(text, _KV_CACHE), default=0.0),
        prefix_queries=int(sum(_values(text, _QUERIES))),
        prefix_hits=int(sum(_values(text, _HITS))),
        generated_tokens=int(sum(_values(text, _GENERATED))),
    )


def _values(text: str, name: str) -> list[float]:
    """Return the metric's samples: one for each engine core, where there are several."""
    found = []
    at = text.find(name + "{")
    while at >= 0:
        end = text.find("\n", at)
        line = text[at : end if end >= 0 else len(text)]
        found.append(float(line.rpartition(" ")[2]))
        at = text.find(name + "{", at + len(line))
    return found
