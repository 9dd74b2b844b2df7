"""Make the environment fit for vLLM on a CPU: torchvision, torchaudio and torchcodec that belong to another torch.

pip may choose builds of them for a torch that is not the CPU one, and then `import transformers.models.gemma3n`
fails with `operator torchvision::nms does not exist`. vLLM and Gemma 3n's text work without all three.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import structlog

_PACKAGES = ("torchvision", "torchaudio", "torchcodec")
_IMPORTED = ("torchvision", "torchaudio")
"""What transformers imports wherever it is installed; torchcodec only shares their fate."""
_TIMEOUT_SECONDS = 300.0


def repair_torch_extras(data_dir: Path) -> str | None:
    """Uninstall what does not import, once for each set of versions. Return a sentence where that failed, else None."""
    versions = _versions()
    installed = [name for name in _IMPORTED if name in versions]
    if not installed:
        return None
    marker = data_dir / "torch-extras.ok"
    state = " ".join(f"{name}=={version}" for name, version in versions.items())
    if marker.is_file() and marker.read_text(encoding="utf-8") == state:
        return None
    broken = [name for name in installed if not _imports(name)]
    if broken:
        return _uninstall([name for name in _PACKAGES if name in versions], broken)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(state, encoding="utf-8")
    return None


def _versions() -> dict[str, str]:
    found = {}
    for name in ("torch", *_PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _imports(package: str) -> bool:
    """Whether a child can import it; a broken build may end, or stop, the process that tries."""
    return _run([sys.executable, "-c", f"import {package}"])


def _uninstall(packages: list[str], broken: list[str]) -> str | None:
    command = [sys.executable, "-m", "pip", "uninstall", "-y", *packages]
    structlog.get_logger().info("torch_extras_removed", packages=packages, do_not_import=broken)
    if _run(command):
        return None
    does = " and ".join(broken)
    return f"{does}: made for another torch than the installed one; could not be removed, so run: {' '.join(command)}"


def _run(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
