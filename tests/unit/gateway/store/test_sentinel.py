"""The Store at a Redis whose master the Sentinels name, through real failovers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from config import RedisSettings
from gateway.errors import StoreDown
from gateway.store import Store, open_store
from gateway.telemetry.metrics import Metrics
from tests.fakes.ports import free_port
from tests.fakes.redis_sentinel import SENTINEL_PASSWORD, WatchedRedis


def started() -> Iterator[WatchedRedis]:
    """Yield a master, a replica and three Sentinels, and end them."""
    watched = WatchedRedis()
    try:
        watched.start()
        yield watched
    finally:
        watched.remove()


@pytest.fixture(scope="module")
def shared() -> Iterator[WatchedRedis]:
    """Those of this file, for tests that leave them as they are."""
    yield from started()


@pytest.fixture
def watched() -> Iterator[WatchedRedis]:
    """Those of the test's own."""
    yield from started()


def settings_of(watched: WatchedRedis, **given: Any) -> RedisSettings:
    """Return the settings by which a gateway finds the master."""
    patient = {"timeout_seconds": 2, "connect_timeout_seconds": 2, "breaker_seconds": 0.2}
    return RedisSettings(
        **{
            "url": SecretStr(watched.url),
            "sentinels": watched.sentinels,
            "sentinel_password": SecretStr(SENTINEL_PASSWORD),
            **patient,
            **given,
        }
    )


@pytest.fixture
async def store(watched: WatchedRedis, metrics: Metrics) -> AsyncIterator[Store]:
    """A store that knows the Sentinels."""
    store = open_store(settings_of(watched), metrics)
    yield store
    await store.aclose()


async def written(store: Store, key: str) -> None:
    """Write a key until it is taken."""
    async with asyncio.timeout(30):
        while True:
            try:
                await store.call("SET", key, "x")
                return
            except StoreDown:
                await asyncio.sleep(0.05)


async def port_of(store: Store) -> int:
    """Return the port of the Redis that is asked."""
    return int((await store.info())["tcp_port"])


async def test_the_sentinels_name_the_master(shared: WatchedRedis, metrics: Metrics) -> None:
    store = open_store(settings_of(shared), metrics)
    await store.call("SET", "k", "x")
    assert await port_of(store) == shared.ports[0]
    await store.aclose()


@pytest.mark.slow
async def test_after_the_masters_end_the_replica_that_took_over_is_asked(watched: WatchedRedis, store: Store) -> None:
    await store.call("SET", "k", "x")
    assert await store.call("WAIT", 1, 2000) == 1
    await asyncio.to_thread(watched.kill, watched.ports[0])
    await written(store, "l")
    assert await port_of(store) == watched.ports[1]
    assert await store.call("GET", "k") == b"x"
    assert store.healthy


@pytest.mark.slow
async def test_a_master_that_freezes_is_left(watched: WatchedRedis, store: Store) -> None:
    await store.call("SET", "k", "x")
    await asyncio.to_thread(watched.freeze, watched.ports[0])
    await written(store, "l")
    assert await port_of(store) == watched.ports[1]


@pytest.mark.slow
async def test_a_master_that_is_made_a_replica_is_left(watched: WatchedRedis, store: Store) -> None:
    await store.call("SET", "k", "x")
    await asyncio.to_thread(watched.hand_over)
    async with asyncio.timeout(8):  # After 10 s the Sentinels would have made it one, and closed its connections.
        while await port_of_whoever_writes(store) != watched.ports[1]:
            await asyncio.sleep(0.1)


async def port_of_whoever_writes(store: Store) -> int:
    """Return the port of the Redis that took a write, 0 while none does."""
    try:
        await store.call("SET", "l", "x")
        return await port_of(store)
    except StoreDown:
        return 0


async def test_sentinels_that_are_gone_cost_nothing(shared: WatchedRedis, metrics: Metrics) -> None:
    shared.freeze(shared.ports[2])
    gone = [f"127.0.0.1:{free_port()}", *shared.sentinels]
    store = open_store(settings_of(shared, sentinels=gone, connect_timeout_seconds=20), metrics)
    async with asyncio.timeout(5):  # Waiting for the frozen one would take 10 s.
        await store.call("SET", "k", "x")
    await store.aclose()
    shared.thaw(shared.ports[2])


async def test_a_sentinel_whose_name_cannot_be_looked_up_leaves_the_others(
    shared: WatchedRedis, metrics: Metrics
) -> None:
    store = open_store(settings_of(shared, sentinels=["no..name:26379", *shared.sentinels]), metrics)
    await store.call("SET", "k", "x")
    await store.aclose()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"sentinels": ["127.0.0.1:1"]}, "MasterUnknown"),
        ({"url": SecretStr("redis://:secret@other/0")}, "MasterUnknown"),
        ({"sentinel_password": SecretStr("wrong")}, "MasterUnknown"),
    ],
)
async def test_without_a_master_redis_is_away(
    shared: WatchedRedis, metrics: Metrics, given: dict[str, Any], reason: str
) -> None:
    store = open_store(settings_of(shared, **given), metrics)
    with pytest.raises(StoreDown):
        await store.call("PING")
    assert not store.healthy
    assert f'error="{reason}"' in metrics.render().decode()
    await store.aclose()


@pytest.mark.slow
async def test_a_sentinel_alone_that_names_a_replica_is_not_believed(watched: WatchedRedis, metrics: Metrics) -> None:
    watched.kill(watched.ports[3])
    watched.kill(watched.ports[4])
    watched.client(watched.ports[0]).replicaof("127.0.0.1", watched.ports[1])
    store = open_store(settings_of(watched, sentinels=watched.sentinels[:1]), metrics)
    with pytest.raises(StoreDown):
        await store.call("PING")
    assert 'error="NotMaster"' in metrics.render().decode()
    await store.aclose()
