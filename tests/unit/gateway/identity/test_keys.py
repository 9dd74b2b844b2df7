"""API keys on a real Redis: found by the key, listed without it, gone when revoked."""

from __future__ import annotations

import asyncio
import re

import pytest
import redis

from gateway.errors import NotFound, StoreDown
from gateway.identity.key_uses import KeyUses
from gateway.identity.keys import KeyStore, NewKey, digest_of
from gateway.store import keys
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt


@pytest.fixture
def key_store(store_at: StoreAt, private_redis: RedisServer) -> KeyStore:
    """Keys in a Redis of this test's own, as the list of keys is one for all tenants."""
    return KeyStore(store_at(private_redis, breaker_seconds=60))


def everything_in(server: RedisServer) -> bytes:
    """Return every key and value as one text."""
    with redis.Redis(unix_socket_path=server.socket_path) as client:
        names = client.keys("*")
        assert isinstance(names, list)
        read = {b"string": client.get, b"hash": client.hgetall}
        return b"\n".join(name + repr(read[client.type(name)](name)).encode() for name in sorted(names))


async def test_a_key_leads_to_its_caller(key_store: KeyStore) -> None:
    key, record = await key_store.create(NewKey("acme", "ann", frozenset({"admin", "chat"})))
    assert await key_store.find(key) == record
    assert (record.tenant, record.user, record.scopes) == ("acme", "ann", frozenset({"admin", "chat"}))


async def test_a_key_has_256_random_bits_and_can_be_told_by_its_prefix(key_store: KeyStore) -> None:
    made = [await key_store.create(NewKey("acme", "ann")) for _ in range(20)]
    for key, record in made:
        assert re.fullmatch(r"gg_[A-Za-z0-9_-]{43}", key)
        assert record.prefix == key[:10]
        assert re.fullmatch(r"key_[0-9a-f]{16}", record.id)
    assert len({key for key, _ in made}) == len({record.id for _, record in made}) == 20


async def test_the_key_itself_is_nowhere_in_redis(key_store: KeyStore, private_redis: RedisServer) -> None:
    key, _ = await key_store.create(NewKey("acme", "ann"))
    await key_store.find(key)
    kept = everything_in(private_redis)
    assert digest_of(key).encode() in kept
    assert key.encode() not in kept
    assert key[10:].encode() not in kept


@pytest.mark.parametrize("credential", ["", "gg_", "gg_" + "x" * 43, "\udcff", "*", "x" * 10_000, "\r\nSET a b"])
async def test_what_is_no_key_leads_nowhere(key_store: KeyStore, credential: str) -> None:
    await key_store.create(NewKey("acme", "ann"))
    assert await key_store.find(credential) is None


async def test_neither_the_digest_nor_the_id_is_a_key(key_store: KeyStore) -> None:
    key, record = await key_store.create(NewKey("acme", "ann"))
    for credential in (digest_of(key), record.id, record.prefix, key[:-1], key + "x", key.upper()):
        assert await key_store.find(credential) is None


async def test_keys_are_listed_oldest_first(key_store: KeyStore) -> None:
    made = [(await key_store.create(NewKey("acme", f"u{number}")))[1] for number in range(5)]
    listed = await key_store.records()
    assert listed == sorted(made, key=lambda record: (record.created_at, record.id))
    assert await key_store.records() == listed


async def test_without_keys_the_list_is_empty(key_store: KeyStore) -> None:
    assert await key_store.records() == []


async def test_a_revoked_key_is_gone_and_the_others_stay(key_store: KeyStore, private_redis: RedisServer) -> None:
    key, record = await key_store.create(NewKey("acme", "ann"))
    other, other_record = await key_store.create(NewKey("acme", "bob"))
    await key_store.revoke(record.id)
    assert await key_store.find(key) is None
    assert await key_store.find(other) == other_record
    assert await key_store.records() == [other_record]
    assert digest_of(key).encode() not in everything_in(private_redis)


async def test_a_key_cannot_be_revoked_twice_or_unknown(key_store: KeyStore) -> None:
    _, record = await key_store.create(NewKey("acme", "ann"))
    await key_store.revoke(record.id)
    for key_id in (record.id, "key_none", ""):
        with pytest.raises(NotFound) as caught:
            await key_store.revoke(key_id)
        assert caught.value.param == "id"


async def test_a_revocation_that_was_cut_in_half_can_be_repeated(
    key_store: KeyStore, private_redis: RedisServer
) -> None:
    key, record = await key_store.create(NewKey("acme", "ann"))
    with redis.Redis(unix_socket_path=private_redis.socket_path) as client:
        client.delete(keys.api_key(digest_of(key)))
    assert await key_store.records() == []
    await key_store.revoke(record.id)


async def test_names_of_any_script_are_kept(key_store: KeyStore) -> None:
    key, _ = await key_store.create(NewKey("Müller & Söhne", "早 ann"))
    found = await key_store.find(key)
    assert found
    assert (found.tenant, found.user) == ("Müller & Söhne", "早 ann")


async def test_many_keys_at_once_are_all_found(key_store: KeyStore) -> None:
    made = await asyncio.gather(*(key_store.create(NewKey("acme", f"u{number}")) for number in range(50)))
    callers = await asyncio.gather(*(key_store.find(key) for key, _ in made))
    assert [caller.user for caller in callers if caller] == [f"u{number}" for number in range(50)]


async def test_without_redis_a_key_can_neither_be_made_nor_found(
    key_store: KeyStore, private_redis: RedisServer
) -> None:
    key, record = await key_store.create(NewKey("acme", "ann"))
    private_redis.kill()
    for attempt in (
        key_store.find(key),
        key_store.create(NewKey("acme", "bob")),
        key_store.records(),
        key_store.revoke(record.id),
        key_store.rotate(record.id, 0),
        key_store.note_uses({record.id: 1}),
    ):
        with pytest.raises(StoreDown):
            await attempt


async def test_a_record_has_all_that_was_asked_for(key_store: KeyStore) -> None:
    new = NewKey("acme", "ann", frozenset({"a"}), frozenset({"m", "n"}), "gold", 2_000_000_000)
    key, record = await key_store.create(new)
    assert await key_store.find(key) == record
    assert (record.models, record.tier, record.expires_at) == (frozenset({"m", "n"}), "gold", 2_000_000_000)


async def test_without_a_user_the_key_is_its_own_and_stays_so_when_rotated(key_store: KeyStore) -> None:
    _, record = await key_store.create(NewKey("acme"))
    assert record.user == record.id
    key, rotated = await key_store.rotate(record.id, 0)
    assert (rotated.id, rotated.user, rotated.created_at) == (record.id, record.user, record.created_at)
    assert await key_store.find(key) == rotated


async def test_a_rotated_key_ends_at_once_or_after_its_grace(key_store: KeyStore) -> None:
    first, record = await key_store.create(NewKey("acme"))
    second, _ = await key_store.rotate(record.id, 0)
    assert await key_store.find(first) is None
    third, _ = await key_store.rotate(record.id, 2)
    assert await key_store.find(second)
    assert await key_store.find(third)
    async with asyncio.timeout(10):
        while await key_store.find(second) is not None:
            await asyncio.sleep(0.05)
    assert await key_store.find(third)
    assert len(await key_store.records()) == 1


async def test_no_more_than_one_earlier_key_holds_and_a_revocation_ends_it_too(key_store: KeyStore) -> None:
    first, record = await key_store.create(NewKey("acme"))
    second, _ = await key_store.rotate(record.id, 60)
    third, _ = await key_store.rotate(record.id, 60)
    assert [await key_store.find(key) is not None for key in (first, second, third)] == [False, True, True]
    await key_store.revoke(record.id)
    assert [await key_store.find(key) for key in (first, second, third)] == [None, None, None]


async def test_rotations_at_once_leave_one_key_and_none_that_cannot_be_revoked(
    key_store: KeyStore, private_redis: RedisServer
) -> None:
    _, record = await key_store.create(NewKey("acme"))
    made = await asyncio.gather(*(key_store.rotate(record.id, 0) for _ in range(4)), return_exceptions=True)
    new = [each[0] for each in made if not isinstance(each, BaseException)]
    assert sum([await key_store.find(key) is not None for key in new]) == 1
    await key_store.revoke(record.id)
    assert everything_in(private_redis) == b""


async def test_what_is_not_there_cannot_be_rotated(key_store: KeyStore) -> None:
    with pytest.raises(NotFound):
        await key_store.rotate("key_none", 0)


async def test_the_last_use_is_noted_and_written_at_once_for_many(key_store: KeyStore) -> None:
    one, other = [(await key_store.create(NewKey("acme")))[1].id for _ in range(2)]
    uses = KeyUses(key_store, now=lambda: 1000.7, write_seconds=60)
    async with uses.running():
        for _ in range(3):
            uses.note(one)
        assert {record.last_used_at for record in await key_store.records()} == {None}
    assert {record.id: record.last_used_at for record in await key_store.records()} == {one: 1000, other: None}


async def test_a_use_brings_no_revoked_key_back(key_store: KeyStore, private_redis: RedisServer) -> None:
    _, record = await key_store.create(NewKey("acme"))
    await key_store.revoke(record.id)
    await key_store.note_uses({record.id: 5})
    assert everything_in(private_redis) == b""


async def test_uses_are_written_once_redis_is_back(key_store: KeyStore, private_redis: RedisServer) -> None:
    _, record = await key_store.create(NewKey("acme"))
    uses = KeyUses(key_store, now=lambda: 7.0)
    uses.note(record.id)
    private_redis.kill()
    await uses._write()
    assert uses._noted == {record.id: 7}


async def test_uses_that_redis_refuses_are_kept_and_written_later_and_at_the_exit_too(
    key_store: KeyStore, private_redis: RedisServer
) -> None:
    one, other = [(await key_store.create(NewKey("acme")))[1].id for _ in range(2)]
    uses = KeyUses(key_store, now=lambda: 7.0, write_seconds=0.02)
    with redis.Redis(unix_socket_path=private_redis.socket_path) as direct:
        direct.rpush(keys.api_key_uses(), "no hash")
        async with uses.running():
            uses.note(one)
            await asyncio.sleep(0.1)
            uses.note(other)
            direct.delete(keys.api_key_uses())
            async with asyncio.timeout(5):
                while {record.last_used_at for record in await key_store.records()} != {7}:
                    await asyncio.sleep(0.02)
            direct.delete(keys.api_key_uses())
            direct.rpush(keys.api_key_uses(), "no hash")
            uses.note(one)
    assert uses._noted == {one: 7}
