"""vLLM's own log lines (0.32, on a CPU) tell what it is doing."""

from __future__ import annotations

import pytest

from engine.stage import stage_of

LOG = [
    ("Triton is installed, but doesn't include CPU backend. Disabling Triton.", "importing vLLM"),
    (
        "(APIServer pid=26690) INFO 11-23 04:35:19 [api_utils.py:347]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.32.0",
        "importing vLLM",
    ),
    (
        "(APIServer pid=26690) INFO 11-23 04:35:19 [model.py:733] Resolved architecture: Gemma3nForCausalLM",
        "reading the model's configuration",
    ),
    (
        "(APIServer pid=26690) INFO 11-23 04:35:19 [model.py:2152] Using max model len 4096",
        "reading the model's configuration",
    ),
    (
        "(EngineCore pid=981) INFO 11-23 04:35:32 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: …",
        "starting the engine core",
    ),
    (
        "(Worker pid=27265) INFO 11-23 04:35:49 [cpu_model_runner.py:68] Starting to load model /models/demo...",
        "loading weights",
    ),
    ("Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00, 25.73it/s]", "loading weights"),
    (
        "(Worker pid=27265) INFO 11-23 04:35:49 [default_loader.py:501] Loading weights took 0.04 seconds",
        "loading weights",
    ),
    (
        "(EngineCore pid=981) INFO 11-23 04:35:52 [kv_cache_utils.py:2327] CPU KV cache size: 958,698 tokens, …",
        "warming up",
    ),
    (
        "(EngineCore pid=981) INFO 11-23 04:35:52 [core.py:402] init engine (profile, create kv cache, warmup model) …",
        "preparing the HTTP server",
    ),
    (
        "(APIServer pid=26690) INFO 11-23 04:35:54 [entry.py:140] Starting vLLM server on http://127.0.0.1:8100",
        "starting the HTTP server",
    ),
    (
        "(APIServer pid=26690) INFO 11-23 04:35:54 [launcher.py:195] Route: /health, Methods: GET",
        "starting the HTTP server",
    ),
]


@pytest.mark.parametrize("count", range(1, len(LOG) + 1))
def test_the_latest_line_that_tells_a_stage_counts(count: int) -> None:
    assert stage_of([line for line, _ in LOG[:count]]) == LOG[count - 1][1]


def test_an_empty_log_is_the_first_stage() -> None:
    assert stage_of([]) == "importing vLLM"


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("Model loading took 14.7 GiB memory and 5.123456 seconds", "setting up the KV cache"),
        ("Dynamo bytecode transform time: 3.21 s", "compiling"),
        ("Graph capturing finished in 12 secs, took 0.52 GiB", "capturing CUDA graphs"),
    ],
)
def test_the_stages_of_a_gpu_are_known(line: str, stage: str) -> None:
    assert stage_of([line]) == stage
