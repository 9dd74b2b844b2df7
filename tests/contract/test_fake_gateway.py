"""The processes that tests own: none outlives its test."""

from __future__ import annotations

import psutil
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess
from tests.fakes.redis_server import RedisServer


async def test_a_gateway_that_does_not_start_in_time_is_not_left_running(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.gateway._START_SECONDS", 0)
    gateway = GatewayProcess(redis_server.url, [])
    with pytest.raises(TimeoutError):
        await gateway.__aenter__()
    assert not psutil.pid_exists(gateway.pid)


async def test_an_engine_that_does_not_start_in_time_is_not_left_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fakes.process._START_SECONDS", 0)
    engine = EngineProcess()
    with pytest.raises(TimeoutError):
        await engine.__aenter__()
    assert engine._process is not None
    assert not psutil.pid_exists(engine._process.pid)
