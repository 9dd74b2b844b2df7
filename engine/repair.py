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
_TIMEOUT_SECONDS = 300.0


def repair_torch_extras(data_dir: Path) -> str | None:
    """Uninstall what does not import, once for each set of versions. Return a sentence where that failed, else None."""
    versions = _versions()
    if "torchvision" not in versions:
        return None
    marker = data_dir / "torch-extras.ok"
    state = " ".join(f"{name}=={version}" for name, version in versions.items())
    if marker.is_file() and marker.read_text(encoding="utf-8") == state:
        return None
    if not _imports("torchvision"):
        return _uninstall()
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
    """Whether a child can import it; a broken build may end the process that tries."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and a name of ours
        [sys.executable, "-c", f"import {package}"], capture_output=True, timeout=_TIMEOUT_SECONDS, check=False
    )
    return done.returncode == 0


def _uninstall() -> str | None:
    command = [sys.executable, "-m", "pip", "uninstall", "-y", *_PACKAGES]
    structlog.get_logger().info("torch_extras_removed", packages=_PACKAGES, reason="torchvision does not import")
    done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False)  # noqa: S603
    if done.returncode == 0:
        return None
    return f"torchvision does not fit the installed torch and could not be removed; run: {' '.join(command)}"
