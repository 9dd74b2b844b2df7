"""A real browser in front of a real gateway and a scripted engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.chromium import Watched, chromium_path, running_chromium, watched_page
from tests.browser.packages import installed
from tests.browser.screenshots import Screenshots
from tests.fakes.gateway import GatewayProcess
from tests.flow.conftest import engine, gateway, module_engine, module_gateway

__all__ = ["engine", "gateway", "module_engine", "module_gateway"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """The browser of this file."""
    path = chromium_path()
    if path is None:
        pytest.skip("Chromium is not installed")
    async with running_chromium(path) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def watched(browser: Browser, gateway: GatewayProcess) -> AsyncIterator[Watched]:
    """An empty page for this test, which must not complain, nor ask any other host for anything."""
    async with watched_page(browser, gateway.base_url) as opened:
        yield opened
        assert opened.faults() == []
        assert opened.hosts() <= {gateway.base_url.removeprefix("http://")}


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return (installed() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Screenshots:
    """Where pictures of the pages go: a temporary folder, or the one that SCREENSHOTS names."""
    return Screenshots.chosen(Path(tmp_path_factory.mktemp("screenshots")))
