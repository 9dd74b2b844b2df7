"""Drained engines: every gateway follows the set in Redis, whatever it finds there for a while."""

from __future__ import annotations

import asyncio

from gateway.routing import Holds
from gateway.routing.member import State
from gateway.store import keys
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt
from tests.unit.gateway.routing.fleets import fleet


async def test_it_goes_on_following_after_something_that_is_no_set_of_names(
    store_at: StoreAt, private_redis: RedisServer
) -> None:
    store, engines = store_at(private_redis), fleet()
    (member,) = engines.members
    await store.call("SET", keys.drained_engines(), "no set")
    async with Holds(engines, store, 0.02).running():
        await asyncio.sleep(0.1)
        await store.call("DEL", keys.drained_engines())
        await store.call("SADD", keys.drained_engines(), b"\xff")
        await asyncio.sleep(0.1)
        await store.call("SREM", keys.drained_engines(), b"\xff")
        await store.call("SADD", keys.drained_engines(), member.replica.name)
        for _ in range(200):
            if member.state is State.DRAINING:
                break
            await asyncio.sleep(0.02)
        assert member.state is State.DRAINING
