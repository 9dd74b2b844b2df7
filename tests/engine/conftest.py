"""One `serve` with the real vLLM, real Redis and the demo model, for all tests of this folder, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.stack import ServeProcess


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """The running stack. Limits are off: these tests are about answers."""
    folder: Path = tmp_path_factory.mktemp("serve")
    limits = {"GEMMA_LIMITS__REQUESTS_PER_MINUTE": "0", "GEMMA_LIMITS__REQUESTS_PER_HOUR": "0"}
    stack = ServeProcess(folder, limits)
    try:
        stack.start()
        yield stack
    finally:
        stack.close()


@pytest.fixture(scope="package")
def through(served: ServeProcess) -> Iterator[httpx.Client]:
    """A client of the gateway, with the local key."""
    headers = {"authorization": f"Bearer {served.key}"}
    with httpx.Client(base_url=served.base_url, headers=headers, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture(scope="package")
def direct(served: ServeProcess) -> Iterator[httpx.Client]:
    """A client of vLLM itself."""
    with httpx.Client(base_url=served.engine_url, timeout=120, trust_env=False) as client:
        yield client
