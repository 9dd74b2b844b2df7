"""What all tests share: a real Redis, and one of its own for a test that stops it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.redis_server import RedisServer
from tests.proofs import register_profiles
from tests.workers import ByFile

register_profiles()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Share tests out by file."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis for the whole run; tests keep apart by tenants and ids, or flush() it."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def private_redis() -> Iterator[RedisServer]:
    """A Redis for one test, which may freeze or kill it."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()
