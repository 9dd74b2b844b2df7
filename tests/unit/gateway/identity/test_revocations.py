"""What is revoked: here at once, elsewhere within a second, and while Redis is away or has lost its data."""

from __future__ import annotations

import asyncio
import time

import pytest
import structlog

from gateway.errors import StoreDown
from gateway.identity.principal import Principal, mark_of_key, mark_of_subject, mark_of_token
from gateway.identity.revocations import Revocations
from gateway.store import keys
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt

NOW = time.time()
SOON = NOW + 3600


def by(*marks: str, since: float = NOW - 60) -> Principal:
    """Return a principal with these marks."""
    return Principal("acme", "ann", since=since, marks=marks)


TOKEN, SUBJECT, KEY = mark_of_token("corp", "t1"), mark_of_subject("corp", "ann"), mark_of_key("key_1")


async def eventually(revocations: Revocations, principal: Principal) -> float:
    """Wait until it is revoked; return the seconds that took."""
    started = time.monotonic()
    while not revocations.has(principal):
        assert time.monotonic() - started < 5
        await asyncio.sleep(0.01)
    return time.monotonic() - started


async def test_every_gateway_knows_within_a_second(private_redis: RedisServer, store_at: StoreAt) -> None:
    here, there = (Revocations(store_at(private_redis)) for _ in range(2))
    told = list[None]()
    there.on_change(lambda: told.append(None))
    async with here.running(), there.running():
        for number, mark in enumerate((TOKEN, SUBJECT, KEY), 1):
            assert not there.has(by(mark))
            await here.revoke(mark, SOON)
            assert here.has(by(mark))
            assert await eventually(there, by(mark)) < 1
            assert len(told) == number
        assert not there.has(by(mark_of_token("corp", "t2"), mark_of_subject("other", "ann")))


async def test_a_gateway_that_starts_knows_before_its_first_request(
    private_redis: RedisServer, store_at: StoreAt
) -> None:
    await Revocations(store_at(private_redis)).revoke(TOKEN, SOON)
    late = Revocations(store_at(private_redis))
    async with late.running():
        assert late.has(by(TOKEN))


async def test_a_subject_may_come_back_and_a_token_may_not(private_redis: RedisServer, store_at: StoreAt) -> None:
    revocations = Revocations(store_at(private_redis))
    for mark in (SUBJECT, TOKEN):
        await revocations.revoke(mark, SOON)
    after = time.time() + 1
    assert revocations.has(by(SUBJECT))
    assert not revocations.has(by(SUBJECT, since=after))
    assert revocations.has(by(TOKEN, since=after))
    assert revocations.has(by(SUBJECT, since=0.0)), "a token that does not say when it was made"


async def test_entries_are_listed_and_forgotten_at_their_end(private_redis: RedisServer, store_at: StoreAt) -> None:
    now = [NOW]
    revocations = Revocations(store_at(private_redis), now=lambda: now[0])
    await revocations.revoke(TOKEN, NOW + 10)
    await revocations.revoke(SUBJECT, NOW + 20)
    assert [(entry.mark, round(entry.until - NOW)) for entry in await revocations.entries()] == [
        (TOKEN, 10), (SUBJECT, 20),
    ]  # fmt: skip
    now[0] = NOW + 11
    await revocations.revoke(KEY, NOW + 30)
    assert [entry.mark for entry in await revocations.entries()] == [SUBJECT, KEY]
    assert set(revocations._known) == {SUBJECT, KEY}


async def test_what_is_revoked_twice_counts_from_the_later_and_to_the_later(
    private_redis: RedisServer, store_at: StoreAt
) -> None:
    now = [NOW]
    revocations = Revocations(store_at(private_redis), now=lambda: now[0])
    await revocations.revoke(SUBJECT, NOW + 100)
    now[0] = NOW + 5
    await revocations.revoke(SUBJECT, NOW + 50)
    other = Revocations(store_at(private_redis), now=lambda: now[0])
    async with other.running():
        for each in (revocations, other):
            assert each.has(by(SUBJECT, since=NOW + 4))
            assert each._known[SUBJECT].until == pytest.approx(NOW + 100)


async def test_while_redis_is_away_the_last_list_holds_and_nothing_is_added(
    private_redis: RedisServer, store_at: StoreAt
) -> None:
    revocations = Revocations(store_at(private_redis, breaker_seconds=0.1), poll_seconds=0.05)
    async with revocations.running():
        await revocations.revoke(TOKEN, SOON)
        private_redis.kill()
        await asyncio.sleep(0.2)
        assert revocations.has(by(TOKEN))
        with pytest.raises(StoreDown):
            await revocations.revoke(SUBJECT, SOON)
        assert not revocations.has(by(SUBJECT))


async def test_what_redis_has_lost_is_not_forgotten_and_what_comes_then_is_known(
    private_redis: RedisServer, store_at: StoreAt
) -> None:
    here, there = (Revocations(store_at(private_redis), poll_seconds=0.05) for _ in range(2))
    async with here.running(), there.running():
        await here.revoke(TOKEN, SOON)
        await eventually(there, by(TOKEN))
        private_redis.flush()
        await here.revoke(SUBJECT, SOON)
        await eventually(there, by(SUBJECT))
        assert there.has(by(TOKEN))


async def test_it_goes_on_following_after_what_redis_refuses(private_redis: RedisServer, store_at: StoreAt) -> None:
    store = store_at(private_redis)
    here, there = Revocations(store), Revocations(store_at(private_redis), poll_seconds=0.02)
    await store.call("RPUSH", keys.revocations_version(), "no text")
    with structlog.testing.capture_logs() as logs:
        async with there.running():
            await asyncio.sleep(0.1)
            await store.call("DEL", keys.revocations_version())
            await here.revoke(TOKEN, SOON)
            await eventually(there, by(TOKEN))
    assert {entry["event"] for entry in logs} == {"revocations_not_read"}


@pytest.mark.parametrize("member", ["no entry", "soon|jti:corp:t3", b"1.0|\xff"])
async def test_what_is_no_entry_keeps_no_other_from_being_known(
    private_redis: RedisServer, store_at: StoreAt, member: str | bytes
) -> None:
    store = store_at(private_redis)
    here, there = Revocations(store), Revocations(store_at(private_redis), poll_seconds=0.02)
    async with there.running():
        await store.call("ZADD", keys.revocations(), SOON, member)
        for mark in (TOKEN, SUBJECT):
            await here.revoke(mark, SOON)
            await eventually(there, by(mark))
    assert {entry.mark for entry in await here.entries()} == {TOKEN, SUBJECT}


async def test_names_with_every_character_are_told_apart(private_redis: RedisServer, store_at: StoreAt) -> None:
    here, there = (Revocations(store_at(private_redis)) for _ in range(2))
    await here.revoke(mark_of_subject("corp", "a|b:c 早"), SOON)
    async with there.running():
        assert there.has(by(mark_of_subject("corp", "a|b:c 早")))
        assert not there.has(by(mark_of_subject("corp", "b:c 早")))
