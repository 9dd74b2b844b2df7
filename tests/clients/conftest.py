"""The gateway in front of a scripted engine, as the flow tests have it, for clients that people really use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flow.conftest import engine, gateway, module_engine, module_gateway

__all__ = ["engine", "gateway", "module_engine", "module_gateway"]


@pytest.fixture(scope="module", autouse=True)
def no_proxy() -> Iterator[None]:
    """Stock clients use the proxy of the environment, which cannot reach these gateways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield
