"""vLLM's metrics, as recorded from vLLM, and what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.routing.engine_load import EngineLoad, engine_load

RECORDED = Path(__file__).resolve().parents[3] / "fakes" / "recordings" / "metrics.txt"


def test_what_vllm_says_is_read() -> None:
    load = engine_load(RECORDED.read_text(encoding="utf-8"))
    assert load == EngineLoad(
        running=0, waiting=0, kv_cache_use=0.0, prefix_queries=955, prefix_hits=384, generated_tokens=37
    )


def test_several_engine_cores_are_one_engine() -> None:
    text = "\n".join(
        f'vllm:{name}{{engine="{core}",model_name="m"}} {value}'
        for core in (0, 1)
        for name, value in (("num_requests_running", 3.0), ("num_requests_waiting", 2.0))
    )
    text += '\nvllm:kv_cache_usage_perc{engine="0"} 0.25\nvllm:kv_cache_usage_perc{engine="1"} 0.75'
    assert engine_load(text) == EngineLoad(running=6, waiting=4, kv_cache_use=0.75)


def test_what_is_not_said_is_nothing() -> None:
    assert engine_load("") == EngineLoad()
    assert engine_load('vllm:num_requests_running_total{a="b"} 5') == EngineLoad()


def test_nonsense_is_an_error() -> None:
    with pytest.raises(ValueError):
        engine_load('vllm:num_requests_running{engine="0"} many\n')
