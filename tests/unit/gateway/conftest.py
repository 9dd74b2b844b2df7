"""What the rooms' tests share: a store on the real Redis, and a tenant that no other test has."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from pydantic import SecretStr

from config import RedisSettings
from gateway.domain import Caller
from gateway.store import Store, open_store
from gateway.telemetry.metrics import Metrics
from tests.fakes.redis_cluster import RedisCluster
from tests.fakes.redis_server import RedisServer

StoreAt = Callable[..., Store]


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of one gateway."""
    return Metrics()


@pytest.fixture
async def store_at(metrics: Metrics) -> AsyncIterator[StoreAt]:
    """Open stores: `store_at(server)`, settings by keyword. Patient by default, as the machine may be busy."""
    opened: list[Store] = []

    def open_at(server: RedisServer | RedisCluster, **settings: float) -> Store:
        patient = {"timeout_seconds": 5.0, "connect_timeout_seconds": 5.0, **settings}
        store = open_store(RedisSettings(url=SecretStr(server.url), **patient), metrics)
        opened.append(store)
        return store

    yield open_at
    for store in opened:
        await store.aclose()


@pytest.fixture
def store(store_at: StoreAt, redis_server: RedisServer) -> Store:
    """A store on the Redis that all tests share."""
    return store_at(redis_server)


@pytest.fixture
def caller() -> Caller:
    """A caller whose keys are this test's own."""
    return Caller(tenant=f"tenant-{uuid.uuid4().hex}", user="ann")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """A cluster of three nodes for one file. A store is told of one node and finds the others."""
    cluster = RedisCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()
