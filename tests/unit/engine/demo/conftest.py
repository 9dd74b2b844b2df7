"""The demo checkpoint, and what must be out of the way before transformers can load it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import demo
from engine.repair import repair_torch_extras


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # What the preflight does: a torchvision for another torch would stop the import of transformers.
    assert repair_torch_extras(tmp_path_factory.mktemp("data")) is None
    return demo.MODEL
