"""The demo checkpoint, built once for all tests of this folder by a process of its own, as the launcher does it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.repair import repair_torch_extras


def build_in_subprocess(out_dir: Path, **environment: str) -> None:
    """Run the build's command line; the environment is bare, so the build can lean on none of ours."""
    command = [sys.executable, "-m", "engine.demo.build", str(out_dir)]
    finished = subprocess.run(
        command, cwd=Path(__file__).parents[4], env=environment, capture_output=True, text=True, timeout=110
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == f"{out_dir}\n"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    # What the preflight does before it builds: a torchvision for another torch would stop the import of transformers.
    assert repair_torch_extras(folder) is None
    out_dir = folder / "demo-model"
    build_in_subprocess(out_dir, PYTHONHASHSEED="1")
    return out_dir
