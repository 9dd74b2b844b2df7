"""A scripted engine and a gateway in front of it, as real processes, shared by the tests of one file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_engine() -> AsyncIterator[EngineProcess]:
    """The scripted engine of this file."""
    async with EngineProcess("--model", "fake") as engine:
        yield engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_gateway(module_engine: EngineProcess, redis_server: RedisServer) -> AsyncIterator[GatewayProcess]:
    """The gateway of this file."""
    async with GatewayProcess(redis_server.url, [module_engine.replica.base_url]) as gateway:
        await gateway.ready()
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def engine(module_engine: EngineProcess) -> EngineProcess:
    """The file's engine with no script and no counts."""
    await module_engine.reset()
    return module_engine


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(module_gateway: GatewayProcess, engine: EngineProcess) -> GatewayProcess:
    """The file's gateway, ready, in front of an engine that was reset."""
    await module_gateway.ready()
    return module_gateway
