"""Kept responses on a real Redis: the owner's alone, in rows that fork, gone after their time or for newer ones."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import gateway.responses.store as module
from gateway.domain import Caller
from gateway.errors import InvalidRequest, NotFound, StoreDown
from gateway.responses import NO_ROW, Row
from gateway.store import Cipher, Store, keys
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt
from tests.unit.gateway.responses.kept import Kept, item, new

NOBODYS = "resp_" + "0" * 40


@pytest.fixture
def kept(store: Store) -> Kept:
    """What is under test, with the default settings."""
    return Kept(store)


@pytest.fixture
def direct(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The same Redis, without the code under test."""
    with redis.Redis(unix_socket_path=redis_server.socket_path) as client:
        yield client


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every use is a millisecond after the one before."""
    ticks = itertools.count(module._now_ms())
    monkeypatch.setattr(module, "_now_ms", lambda: next(ticks))


def others_of(caller: Caller) -> list[Caller]:
    """Return another user of the same tenant, and the same user of another tenant."""
    return [Caller(caller.tenant, caller.user + "2"), Caller(caller.tenant + "2", caller.user)]


async def is_there(kept: Kept, caller: Caller, response_id: str) -> bool:
    """Return whether a response can be read."""
    try:
        await kept.store.read(caller, response_id)
    except NotFound:
        return False
    return True


async def missing(kept: Kept, caller: Caller, response_id: str) -> InvalidRequest:
    """Return the refusal to go on from a response."""
    with pytest.raises(InvalidRequest) as caught:
        await kept.store.row(caller, response_id)
    assert (caught.value.param, caught.value.code) == ("previous_response_id", "previous_response_not_found")
    return caught.value


def sizes(direct: redis.Redis, caller: Caller) -> tuple[dict[str, int], int]:
    """Return the bytes of each response of a user's, and their sum as it is kept."""
    found: Any = direct.hgetall(keys.response_sizes(caller.tenant, caller.user))
    by_id = {name.decode(): int(size) for name, size in found.items()}
    return by_id, by_id.pop("sum", 0)


def ttl(direct: redis.Redis, key: str) -> int:
    """Return the seconds that a key has."""
    seconds: Any = direct.ttl(key)
    return int(seconds)


# Kept and read.


async def test_a_response_is_read_as_it_was_kept(kept: Kept, caller: Caller) -> None:
    made = new("one 早")
    await kept.store.keep(caller, made, NO_ROW)
    assert await kept.store.read(caller, made.response["id"]) == made
    assert kept.metrics.responses_kept._value.get() == 1


async def test_a_row_is_all_that_was_said_from_the_beginning(kept: Kept, caller: Caller, direct: redis.Redis) -> None:
    first = await kept.add(caller, "one")
    second = await kept.add(caller, "two", first)
    third = await kept.add(caller, "three", second)
    row = await kept.store.row(caller, third)
    assert list(row.items) == [
        item(role, f"{said}{mark}")
        for said in ("one", "two", "three")
        for role, mark in (("user", "?"), ("assistant", "!"))
    ]
    by_id, _ = sizes(direct, caller)
    assert (row.turns, row.bytes) == (3, sum(by_id.values()))
    assert await kept.said(caller, first) == ["one?", "one!"]


async def test_two_may_go_on_from_one(kept: Kept, caller: Caller) -> None:
    first = await kept.add(caller, "one")
    second, other = [await kept.add(caller, said, first) for said in ("two", "other")]
    assert await kept.said(caller, second) == ["one?", "one!", "two?", "two!"]
    assert await kept.said(caller, other) == ["one?", "one!", "other?", "other!"]
    await kept.store.delete(caller, second)
    assert await kept.said(caller, other) == ["one?", "one!", "other?", "other!"]


async def test_what_is_anothers_looks_as_if_it_did_not_exist(kept: Kept, caller: Caller) -> None:
    mine = await kept.add(caller, "one")
    for other in others_of(caller):
        theirs = await kept.add(other, "theirs")
        for attempt in (kept.store.read(other, mine), kept.store.delete(other, mine)):
            with pytest.raises(NotFound) as caught:
                await attempt
            assert caught.value.message == f"Response with id '{mine}' not found."
        assert (await missing(kept, other, mine)).message == f"Previous response with id '{mine}' not found."
        assert await kept.said(other, theirs) == ["theirs?", "theirs!"]
    assert await kept.said(caller, mine) == ["one?", "one!"]


async def test_a_row_does_not_lead_into_anothers(kept: Kept, caller: Caller) -> None:
    other, _ = others_of(caller)
    theirs = await kept.add(other, "theirs")
    mine = await kept.add(caller, "mine", theirs, NO_ROW)
    assert theirs in (await missing(kept, caller, mine)).message


@pytest.mark.parametrize(
    "response_id",
    ["", "resp_", NOBODYS, "resp_" + "0" * 65, "resp_0\n", "resp_G", "nope", "{x}", "é", "*", "\ud800", "x" * 10_000],
)
async def test_an_id_that_is_none_is_not_found(kept: Kept, caller: Caller, response_id: str) -> None:
    for attempt in (kept.store.read(caller, response_id), kept.store.delete(caller, response_id)):
        with pytest.raises(NotFound) as caught:
            await attempt
        assert caught.value.param == "response_id"
    if response_id.isascii():
        await missing(kept, caller, response_id)


@pytest.mark.parametrize("user", ["a:b", "a", "b", "resp_1", "", "s:a", "{a}", "é:*"])
async def test_a_users_name_shares_no_key_with_anothers(kept: Kept, caller: Caller, user: str) -> None:
    names = ["a:b", "a", "b", "resp_1", "", "s:a", "{a}", "é:*"]
    callers = {name: Caller(caller.tenant, name) for name in names}
    made = {name: await kept.add(each, name) for name, each in callers.items()}
    for name, response_id in made.items():
        assert await is_there(kept, callers[user], response_id) is (name == user)
    found = {key for name in names for key in (keys.responses_of("t", name), keys.response_sizes("t", name))}
    assert len(found) == 2 * len(names)
    assert keys.response("t", "resp_1") not in found


# Deleted.


async def test_nothing_goes_on_from_what_is_deleted(kept: Kept, caller: Caller) -> None:
    first = await kept.add(caller, "one")
    second = await kept.add(caller, "two", first)
    third = await kept.add(caller, "three", second)
    await kept.store.delete(caller, first)
    assert not await is_there(kept, caller, first)
    assert (await missing(kept, caller, first)).message == f"Previous response with id '{first}' not found."
    for later in (second, third):
        gone = f"Previous response with id '{later}' goes on from '{first}', which is gone."
        assert (await missing(kept, caller, later)).message == gone
        assert await is_there(kept, caller, later)


async def test_deleting_all_leaves_nothing_to_be_counted(kept: Kept, caller: Caller, direct: redis.Redis) -> None:
    for response_id in [await kept.add(caller, "one") for _ in range(3)]:
        await kept.store.delete(caller, response_id)
        with pytest.raises(NotFound):
            await kept.store.delete(caller, response_id)
    assert sizes(direct, caller) == ({}, 0)
    left: Any = direct.keys(f"gg:{{{caller.tenant}}}:*")
    assert left == [keys.response_sizes(caller.tenant, caller.user).encode()]


# Time to live.


async def test_every_key_ends_after_its_time(store: Store, caller: Caller, direct: redis.Redis) -> None:
    kept = Kept(store, ttl_seconds=100)
    await kept.add(caller, "one")
    found: Any = direct.keys(f"gg:{{{caller.tenant}}}:*")
    assert len(found) == 3
    assert all(98 <= ttl(direct, key) <= 100 for key in found)


async def test_all_of_a_row_is_in_use_when_it_is_gone_on_from(
    store: Store, caller: Caller, direct: redis.Redis
) -> None:
    kept = Kept(store, ttl_seconds=100)
    first = await kept.add(caller, "one")
    second = await kept.add(caller, "two", first)
    beside = await kept.add(caller, "beside", first)
    names = {each: keys.response(caller.tenant, each) for each in (first, second, beside)}
    indexes = [name(caller.tenant, caller.user) for name in (keys.responses_of, keys.response_sizes)]
    for key in (*names.values(), *indexes):
        direct.expire(key, 5)
    await kept.store.row(caller, second)
    assert all(ttl(direct, key) > 90 for key in (names[first], names[second], *indexes))
    assert ttl(direct, names[beside]) <= 5


async def test_a_row_that_cannot_be_gone_on_from_is_not_in_use(
    store: Store, caller: Caller, direct: redis.Redis
) -> None:
    kept = Kept(store, ttl_seconds=100)
    first = await kept.add(caller, "one")
    second = await kept.add(caller, "two", first)
    await kept.store.delete(caller, first)
    direct.expire(keys.response(caller.tenant, second), 5)
    await missing(kept, caller, second)
    assert ttl(direct, keys.response(caller.tenant, second)) <= 5


async def test_a_response_whose_time_is_over_is_gone(store: Store, caller: Caller) -> None:
    kept = Kept(store, ttl_seconds=1)
    response_id = await kept.add(caller, "one")
    await asyncio.sleep(1.1)
    assert not await is_there(kept, caller, response_id)
    await missing(kept, caller, response_id)


async def test_what_has_expired_is_not_counted_any_more(
    store: Store, caller: Caller, direct: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(store, ttl_seconds=100)
    start_ms = module._now_ms()
    ids: list[str] = []
    for after_ms, counted in ((0, 1), (60_000, 2), (100_000, 3), (100_001, 3), (110_000, 4)):
        monkeypatch.setattr(module, "_now_ms", lambda now=start_ms + after_ms: now)
        ids.append(await kept.add(caller, "x"))
        by_id, total = sizes(direct, caller)
        assert by_id.keys() == set(ids[-counted:])
        assert total == sum(by_id.values())
        index: Any = direct.zrange(keys.responses_of(caller.tenant, caller.user), 0, -1)
        assert [name.decode() for name in index] == ids[-counted:]
    assert kept.metrics.responses_evicted._value.get() == 0


# How much.


async def test_only_so_many_may_go_on_from_one_another(store: Store, caller: Caller) -> None:
    kept = Kept(store, max_turns=2)
    first = await kept.add(caller, "one")
    second = await kept.add(caller, "two", first)
    kept.store.check_room(await kept.store.row(caller, first), 0)
    with pytest.raises(InvalidRequest, match="At most 2 ") as caught:
        kept.store.check_room(await kept.store.row(caller, second), 0)
    assert (caught.value.code, caught.value.param) == ("conversation_full", "previous_response_id")


def test_a_row_may_have_only_so_many_bytes_with_what_is_new(store: Store) -> None:
    kept = Kept(store, max_bytes=1024)
    row = Row((), 1, 100)
    kept.store.check_room(row, 924)
    with pytest.raises(InvalidRequest, match="at most 1024 bytes") as caught:
        kept.store.check_room(row, 925)
    assert caught.value.code == "conversation_full"


async def test_the_least_recently_used_make_room(
    store: Store, caller: Caller, direct: redis.Redis, clock: None
) -> None:
    kept = Kept(store, max_bytes_per_user=10_000)
    ids = [await kept.add(caller, letter * 1400) for letter in "abc"]
    await kept.said(caller, ids[0])
    ids.append(await kept.add(caller, "d" * 1400))
    assert [await is_there(kept, caller, each) for each in ids] == [True, False, True, True]
    assert kept.metrics.responses_evicted._value.get() == 1
    await missing(kept, caller, ids[1])
    by_id, total = sizes(direct, caller)
    assert by_id.keys() == {ids[0], ids[2], ids[3]}
    assert total == sum(by_id.values()) <= 10_000


async def test_reading_is_no_use(store: Store, caller: Caller, clock: None) -> None:
    kept = Kept(store, max_bytes_per_user=10_000)
    ids = [await kept.add(caller, letter * 1400) for letter in "abc"]
    await kept.store.read(caller, ids[0])
    await kept.add(caller, "d" * 1400)
    assert [await is_there(kept, caller, each) for each in ids] == [False, True, True]


async def test_the_newest_is_kept_however_large_it_is_and_others_room_is_not_its(
    store: Store, caller: Caller, direct: redis.Redis
) -> None:
    kept = Kept(store, max_bytes_per_user=1024)
    strangers = [(other, await kept.add(other, "theirs")) for other in others_of(caller)]
    small = [await kept.add(caller, "x") for _ in range(3)]
    large = await kept.add(caller, "x" * 5000)
    assert [await is_there(kept, caller, each) for each in (*small, large)] == [False, False, False, True]
    assert sizes(direct, caller)[0].keys() == {large}
    for other, response_id in strangers:
        assert await is_there(kept, other, response_id)


async def test_a_row_whose_beginning_made_room_names_it(store: Store, caller: Caller, clock: None) -> None:
    kept = Kept(store, max_bytes_per_user=10_000)
    first = await kept.add(caller, "a" * 1400)
    second = await kept.add(caller, "b" * 1400, first)
    await kept.add(caller, "c" * 3300)
    assert f"goes on from '{first}', which is gone" in (await missing(kept, caller, second)).message


# At rest.


async def test_nothing_that_was_said_is_to_be_read_in_redis(store: Store, caller: Caller, direct: redis.Redis) -> None:
    response_id = await Kept(store, Cipher((b"k" * 32,))).add(caller, "secret words")
    raw: Any = direct.hgetall(keys.response(caller.tenant, response_id))
    assert raw.keys() == {b"user", b"previous", b"turns", b"all_bytes", b"input", b"output", b"response"}
    assert b"secret" not in b"".join(raw.values())
    open_id = await Kept(store).add(caller, "open words")
    open_raw: Any = direct.hgetall(keys.response(caller.tenant, open_id))
    assert b"open words" in b"".join(open_raw.values())


async def test_keys_can_be_exchanged_while_rows_live_on(store: Store, caller: Caller) -> None:
    old, new_key = b"o" * 32, b"n" * 32
    plain, before, between, after = (Kept(store, Cipher(ring)) for ring in ((), (old,), (new_key, old), (new_key,)))
    first = await plain.add(caller, "one")
    second = await before.add(caller, "two", first)
    third = await between.add(caller, "three", second)
    assert await between.said(caller, third) == ["one?", "one!", "two?", "two!", "three?", "three!"]
    assert (await after.store.read(caller, third)).response["id"] == third
    for attempt in (after.store.read(caller, second), after.store.row(caller, third), plain.store.row(caller, second)):
        with pytest.raises(StoreDown):
            await attempt


async def test_what_is_kept_for_one_tenant_cannot_be_moved_to_another(
    store: Store, caller: Caller, direct: redis.Redis
) -> None:
    kept = Kept(store, Cipher((b"k" * 32,)))
    response_id = await kept.add(caller, "one")
    _, elsewhere = others_of(caller)
    direct.copy(keys.response(caller.tenant, response_id), keys.response(elsewhere.tenant, response_id))
    with pytest.raises(StoreDown):
        await kept.store.read(elsewhere, response_id)


# Redis away.


async def test_without_redis_every_use_says_so(private_redis: RedisServer, store_at: StoreAt, caller: Caller) -> None:
    kept = Kept(store_at(private_redis, breaker_seconds=60))
    response_id = await kept.add(caller, "one")
    before = kept.store.takes_more
    private_redis.kill()
    for attempt in (
        kept.store.read(caller, response_id),
        kept.store.row(caller, response_id),
        kept.store.delete(caller, response_id),
        kept.add(caller, "two"),
    ):
        with pytest.raises(StoreDown):
            await attempt
    assert (before, kept.store.takes_more) == (True, False)
    assert kept.metrics.responses_kept._value.get() == 1


# Redis nearly full, or changed by others.


def filled(direct: redis.Redis, share: float, policy: str = "noeviction") -> None:
    """Have Redis be so full."""
    used = int(direct.info("memory")["used_memory"])
    direct.config_set("maxmemory-policy", policy)
    direct.config_set("maxmemory", int(used / share))


@pytest.mark.parametrize(
    ("share", "policy", "keeps"),
    [(0.5, "noeviction", True), (0.95, "noeviction", False), (0.95, "allkeys-lru", True)],
)
async def test_a_redis_that_is_nearly_full_has_room_for_what_was_asked_for_only(
    private_redis: RedisServer, store_at: StoreAt, caller: Caller, share: float, policy: str, keeps: bool
) -> None:
    kept = Kept(store_at(private_redis))
    with redis.Redis(unix_socket_path=private_redis.socket_path) as direct:
        filled(direct, share, policy)
    if keeps:
        assert await is_there(kept, caller, await kept.add(caller, "one"))
    else:
        with pytest.raises(StoreDown, match="nearly full"):
            await kept.add(caller, "one")
    assert kept.store.takes_more is keeps


async def test_room_is_looked_for_again_after_a_while(
    private_redis: RedisServer, store_at: StoreAt, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(store_at(private_redis))
    with redis.Redis(unix_socket_path=private_redis.socket_path) as direct:
        filled(direct, 0.95)
        with pytest.raises(StoreDown):
            await kept.add(caller, "one")
        direct.config_set("maxmemory", 0)
    with pytest.raises(StoreDown):
        await kept.add(caller, "two")
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)
    await kept.add(caller, "three")
    assert kept.store.takes_more


async def test_a_redis_that_is_full_lets_a_user_make_room_for_the_next(
    private_redis: RedisServer, store_at: StoreAt, caller: Caller
) -> None:
    kept = Kept(store_at(private_redis), max_redis_use=1, max_bytes_per_user=4096, max_bytes=4096)
    words = "x" * 1000
    first = await kept.add(caller, words)
    await kept.add(caller, words)
    with redis.Redis(unix_socket_path=private_redis.socket_path) as direct:
        direct.config_set("maxmemory", 1)
        kept.store._full, kept.store._looked = False, float("inf")
        await kept.add(caller, words)
    assert not await is_there(kept, caller, first)


async def test_sizes_that_are_lost_fail_neither_keeping_nor_deleting(
    kept: Kept, caller: Caller, direct: redis.Redis
) -> None:
    first, second = await kept.add(caller, "one"), await kept.add(caller, "two")
    direct.delete(keys.response_sizes(caller.tenant, caller.user))
    await kept.store.delete(caller, first)
    direct.zadd(keys.responses_of(caller.tenant, caller.user), {second: 1})
    third = await kept.add(caller, "three")
    assert not await is_there(kept, caller, second), "what is not counted any more is not there any more"
    assert await is_there(kept, caller, third)
