"""Login codes: each lets in once, as the one who made it."""

from __future__ import annotations

import asyncio

import pytest
import redis

from gateway.errors import Forbidden, StoreDown
from gateway.identity.login_codes import LoginCodes
from gateway.identity.principal import Principal
from gateway.store import Store
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt

PRINCIPALS = [
    Principal("acme", "ann"),
    Principal("a:b", "早", frozenset({"b", "a"}), frozenset(), "gold", 2e9, 1.5, ("key:key_1",), True),
    Principal("acme", "ann", models=frozenset({"m"})),
]


@pytest.mark.parametrize("principal", PRINCIPALS)
async def test_a_code_lets_in_once_as_the_one_who_made_it(store: Store, principal: Principal) -> None:
    codes = LoginCodes(store)
    code = await codes.create(principal)
    assert await codes.redeem(code) == principal
    assert await codes.redeem(code) is None


async def test_sent_many_times_at_once_it_lets_in_once(store_at: StoreAt, redis_server: RedisServer) -> None:
    rooms = [LoginCodes(store_at(redis_server)) for _ in range(8)]
    code = await rooms[0].create(PRINCIPALS[0])
    found = await asyncio.gather(*(room.redeem(code) for room in rooms * 8))
    assert found.count(PRINCIPALS[0]) == 1
    assert found.count(None) == 63


@pytest.mark.parametrize("code", ["", "lc_", "lc_" + "x" * 32, "\udcff", "*", "x" * 10_000])
async def test_what_is_no_code_lets_nobody_in(store: Store, code: str) -> None:
    assert await LoginCodes(store).redeem(code) is None


async def test_redis_has_no_code_and_forgets_in_ten_minutes(store_at: StoreAt, private_redis: RedisServer) -> None:
    code = await LoginCodes(store_at(private_redis)).create(PRINCIPALS[0])
    with redis.Redis(unix_socket_path=private_redis.socket_path) as client:
        (name,) = client.keys("*")
        assert code.encode() not in name
        assert code.encode() not in (client.get(name) or b"")
        assert 590 < client.ttl(name) <= 600


async def test_codes_of_codes_have_an_end(store: Store) -> None:
    with pytest.raises(Forbidden):
        await LoginCodes(store).create(Principal("acme", "ann", marks=("jti:built-in:x",) * 9))


async def test_without_redis_there_are_no_codes(store_at: StoreAt, private_redis: RedisServer) -> None:
    codes = LoginCodes(store_at(private_redis, breaker_seconds=60))
    private_redis.kill()
    for attempt in (codes.create(PRINCIPALS[0]), codes.redeem("lc_x")):
        with pytest.raises(StoreDown):
            await attempt


async def test_a_code_that_was_made_without_authentication_lets_nobody_in_once_there_is_some(store: Store) -> None:
    code = await LoginCodes(store, authenticated=False).create(PRINCIPALS[0])
    assert await LoginCodes(store).redeem(code) is None
    assert await LoginCodes(store, authenticated=False).redeem(code) == PRINCIPALS[0]
