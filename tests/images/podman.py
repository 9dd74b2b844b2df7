"""podman, as the tests of images use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = "localhost/gemma-gateway:check"
ENGINE = "localhost/gemma-gateway-engine:check"
REDIS = "localhost/gemma-redis:check"


def podman(*arguments: str | Path, text: str | None = None, check: bool = True) -> str:
    """Return what podman printed; standard error, with complaints of a missing systemd, is shown if it fails."""
    environ = {**os.environ, "CONTAINERS_CONF": str(ROOT / "tests" / "images" / "containers.conf")}
    command = ["podman", *map(str, arguments)]
    done = subprocess.run(command, input=text, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
    return done.stdout


def needs(*images: str) -> None:
    """Skip where podman or an image is not there."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed; make image-check installs it and builds the images")
    for image in images:
        if not podman("images", "--quiet", image).strip():
            pytest.skip(f"the image {image} is not built; make image-check builds it")


def inspect(image: str) -> dict[str, Any]:
    """Return what podman knows of an image."""
    found: dict[str, Any] = json.loads(podman("image", "inspect", image))[0]
    return found
