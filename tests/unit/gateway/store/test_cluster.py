"""The Store at a Redis Cluster some of whose nodes are lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from pydantic import SecretStr

from config import RedisSettings
from gateway.errors import StoreDown
from gateway.store import Store, open_store
from gateway.telemetry.metrics import Metrics
from tests.fakes.redis_cluster import RedisCluster

pytestmark = pytest.mark.slow

KEYS = [f"k{{{number}}}" for number in range(60)]


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    """A cluster of the test's own."""
    cluster = RedisCluster()
    cluster.start()
    yield cluster
    cluster.remove()


@pytest.fixture
async def store(cluster: RedisCluster, metrics: Metrics) -> AsyncIterator[Store]:
    """A store that is told of the first node."""
    settings = RedisSettings(
        url=SecretStr(cluster.url), timeout_seconds=2, connect_timeout_seconds=2, breaker_seconds=0.2
    )
    store = open_store(settings, metrics)
    yield store
    await store.aclose()


async def writes(store: Store, names: Sequence[str] = KEYS) -> None:
    """Write every key, each until it is taken."""
    for key in names:
        async with asyncio.timeout(20):
            while True:
                try:
                    await store.call("SET", key, "x")
                    break
                except StoreDown:
                    await asyncio.sleep(0.05)


def is_well(store: Store) -> bool:
    """Whether the store says so."""
    return store.healthy


@pytest.mark.parametrize("lost", [0, 1], ids=["the one in the settings", "another"])
async def test_after_a_failover_the_lost_node_is_expected_no_more(
    cluster: RedisCluster, store: Store, lost: int
) -> None:
    await writes(store)
    assert is_well(store)
    await asyncio.to_thread(cluster.fail_over, lost, 2)
    await writes(store)
    async with asyncio.timeout(20):
        while not is_well(store):
            await asyncio.gather(*(store.call("GET", key) for key in KEYS))
            await asyncio.sleep(0.2)


async def test_while_all_nodes_seem_away_the_one_in_the_settings_is_asked_too(
    cluster: RedisCluster, store: Store
) -> None:
    await writes(store)
    elsewhere = [key for key in KEYS if store._node_of(key) is store._nodes["127.0.0.1", cluster.ports[1]]]
    await asyncio.to_thread(cluster.fail_over, 1, 0)
    for node in store._nodes.values():
        node.breaker.failed()
    await writes(store, elsewhere)
