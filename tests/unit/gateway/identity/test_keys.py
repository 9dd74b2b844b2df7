"""API keys on a real Redis: found by the key, listed without it, gone when revoked."""

from __future__ import annotations

import asyncio
import re

import pytest
import redis

from gateway.errors import NotFound, StoreDown
from gateway.identity.keys import KeyStore, digest_of
from gateway.identity.principal import Principal
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
        return b"\n".join(
            b"%s %r" % (name, client.dump(name)) + repr(client.hgetall(name)).encode() for name in sorted(names)
        )


async def test_a_key_leads_to_its_caller(key_store: KeyStore) -> None:
    key, record = await key_store.create("acme", "ann", frozenset({"admin", "chat"}))
    assert await key_store.find(key) == Principal("acme", "ann", frozenset({"admin", "chat"}))
    assert (record.tenant, record.user, record.scopes) == ("acme", "ann", frozenset({"admin", "chat"}))


async def test_a_key_has_256_random_bits_and_can_be_told_by_its_prefix(key_store: KeyStore) -> None:
    made = [await key_store.create("acme", "ann", frozenset()) for _ in range(20)]
    for key, record in made:
        assert re.fullmatch(r"gg_[A-Za-z0-9_-]{43}", key)
        assert record.prefix == key[:10]
        assert re.fullmatch(r"key_[0-9a-f]{16}", record.id)
    assert len({key for key, _ in made}) == len({record.id for _, record in made}) == 20


async def test_the_key_itself_is_nowhere_in_redis(key_store: KeyStore, private_redis: RedisServer) -> None:
    key, _ = await key_store.create("acme", "ann", frozenset())
    await key_store.find(key)
    kept = everything_in(private_redis)
    assert digest_of(key).encode() in kept
    assert key.encode() not in kept
    assert key[10:].encode() not in kept


@pytest.mark.parametrize("credential", ["", "gg_", "gg_" + "x" * 43, "\udcff", "*", "x" * 10_000, "\r\nSET a b"])
async def test_what_is_no_key_leads_nowhere(key_store: KeyStore, credential: str) -> None:
    await key_store.create("acme", "ann", frozenset())
    assert await key_store.find(credential) is None


async def test_neither_the_digest_nor_the_id_is_a_key(key_store: KeyStore) -> None:
    key, record = await key_store.create("acme", "ann", frozenset())
    for credential in (digest_of(key), record.id, record.prefix, key[:-1], key + "x", key.upper()):
        assert await key_store.find(credential) is None


async def test_keys_are_listed_oldest_first(key_store: KeyStore) -> None:
    made = [(await key_store.create("acme", f"u{number}", frozenset()))[1] for number in range(5)]
    listed = await key_store.records()
    assert listed == sorted(made, key=lambda record: (record.created_at, record.id))
    assert await key_store.records() == listed


async def test_without_keys_the_list_is_empty(key_store: KeyStore) -> None:
    assert await key_store.records() == []


async def test_a_revoked_key_is_gone_and_the_others_stay(key_store: KeyStore, private_redis: RedisServer) -> None:
    key, record = await key_store.create("acme", "ann", frozenset())
    other, other_record = await key_store.create("acme", "bob", frozenset())
    await key_store.revoke(record.id)
    assert await key_store.find(key) is None
    assert await key_store.find(other) == Principal("acme", "bob")
    assert await key_store.records() == [other_record]
    assert digest_of(key).encode() not in everything_in(private_redis)


async def test_a_key_cannot_be_revoked_twice_or_unknown(key_store: KeyStore) -> None:
    _, record = await key_store.create("acme", "ann", frozenset())
    await key_store.revoke(record.id)
    for key_id in (record.id, "key_none", ""):
        with pytest.raises(NotFound) as caught:
            await key_store.revoke(key_id)
        assert caught.value.param == "id"


async def test_a_revocation_that_was_cut_in_half_can_be_repeated(
    key_store: KeyStore, private_redis: RedisServer
) -> None:
    key, record = await key_store.create("acme", "ann", frozenset())
    with redis.Redis(unix_socket_path=private_redis.socket_path) as client:
        client.delete(f"gg:apikey:{digest_of(key)}")
    assert await key_store.records() == []
    await key_store.revoke(record.id)


async def test_names_of_any_script_are_kept(key_store: KeyStore) -> None:
    key, _ = await key_store.create("Müller & Söhne", "早 ann", frozenset())
    assert await key_store.find(key) == Principal("Müller & Söhne", "早 ann")


async def test_many_keys_at_once_are_all_found(key_store: KeyStore) -> None:
    made = await asyncio.gather(*(key_store.create("acme", f"u{number}", frozenset()) for number in range(50)))
    callers = await asyncio.gather(*(key_store.find(key) for key, _ in made))
    assert [caller.user for caller in callers if caller] == [f"u{number}" for number in range(50)]


async def test_without_redis_a_key_can_neither_be_made_nor_found(
    key_store: KeyStore, private_redis: RedisServer
) -> None:
    key, record = await key_store.create("acme", "ann", frozenset())
    private_redis.kill()
    for attempt in (
        key_store.find(key),
        key_store.create("acme", "bob", frozenset()),
        key_store.records(),
        key_store.revoke(record.id),
    ):
        with pytest.raises(StoreDown):
            await attempt
