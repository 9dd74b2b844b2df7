"""Every kind of credential, what is remembered of it and for how long."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from config import RedisSettings
from config.schema import AuthMode
from gateway.domain import Caller
from gateway.errors import StoreDown, Unauthenticated
from gateway.identity import Authenticator
from gateway.identity.keys import KeyStore, NewKey
from gateway.identity.principal import mark_of_subject, mark_of_token
from gateway.identity.revocations import Revocations
from gateway.store import Store, open_store
from gateway.telemetry.metrics import Metrics
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt
from tests.unit.gateway.identity.tokens import authenticator_of, claims, token

LOCAL_KEY = "gg_local"
LOCAL = Caller("local", "local", frozenset({"admin"}))
ANONYMOUS = Caller("local", "anonymous", frozenset({"admin"}))


class Clock:
    """Unix time that a test can move."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def authenticator(store: Store, clock: Clock | None = None, **auth_settings: Any) -> Authenticator:
    """Return one that knows tokens, keys in `store` and two local keys."""
    return authenticator_of(store, ("", LOCAL_KEY, "a.b.c"), now=clock or Clock(), **auth_settings)


@pytest.mark.parametrize("header", [b"Bearer gg_local", b"bearer gg_local", b"BEARER   gg_local ", b"Bearer a.b.c"])
async def test_a_local_key_is_the_local_admin(store: Store, header: bytes) -> None:
    assert await authenticator(store).authenticate(header) == LOCAL
    assert "admin" in LOCAL.scopes


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"gg_local",
        b"Basic gg_local",
        b"Bearer\tgg_local",
        b"Bearergg_local",
        b"Bearer gg_local2",
        b"Bearer gg_loca",
        b"Bearer gg_local, Bearer gg_local",
        b"Bearer GG_LOCAL",
        b"Bearer \xff\xfe",
        b"Bearer a.b.d",
        b"Bearer a.\xff.c",
        b"Bearer ..",
        b"Bearer " + b"x" * 100_000,
        b"Bearer " + b"." * 100_000,
    ],
)
async def test_everything_else_is_refused(store: Store, header: bytes | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await authenticator(store).authenticate(header)
    caught.value.message.encode()


@settings(deadline=None, max_examples=50)
@given(header=st.binary())
async def test_any_bytes_are_refused(header: bytes) -> None:
    """Here with a Redis that is away: what looks like a key is told apart by that."""
    store = open_store(RedisSettings(url=SecretStr("unix:///nonexistent/redis.sock")), Metrics())
    for value in (header, b"Bearer " + header):
        with pytest.raises((Unauthenticated, StoreDown)):
            await authenticator(store).authenticate(value)
    await store.aclose()


async def test_an_empty_local_key_lets_nobody_in(store: Store) -> None:
    nobody = authenticator_of(store, ("", ""))
    for header in (b"Bearer", b"Bearer ", b"Bearer  "):
        with pytest.raises(Unauthenticated):
            await nobody.authenticate(header)


async def test_a_token_is_its_user(store: Store) -> None:
    header = b"Bearer " + token().encode()
    assert await authenticator(store).authenticate(header) == Caller("acme", "ann", frozenset({"chat"}))


async def test_a_key_from_redis_is_its_user(store: Store) -> None:
    key, _ = await KeyStore(store).create(NewKey("acme", "bob", frozenset({"chat"})))
    caller = await authenticator(store).authenticate(b"Bearer " + key.encode())
    assert caller == Caller("acme", "bob", frozenset({"chat"}))


async def test_with_authentication_off_everyone_is_the_local_admin(store: Store) -> None:
    off = authenticator(store, mode=AuthMode.OFF)
    for header in (None, b"nonsense", b"Bearer gg_local"):
        assert await off.authenticate(header) == ANONYMOUS


# What is remembered.


async def test_who_was_found_is_recalled_without_asking_again(store: Store) -> None:
    known = authenticator(store)
    header = b"Bearer gg_local"
    assert known.recall(header) is None
    await known.authenticate(header)
    assert known.recall(header) == LOCAL


async def test_who_was_refused_is_not_remembered(store: Store) -> None:
    known = authenticator(store)
    with pytest.raises(Unauthenticated):
        await known.authenticate(b"Bearer wrong")
    assert known._known == {}


@pytest.mark.parametrize("header", [b"Bearer  gg_local", b"Bearer gg_local ", b"Bearer" + b" " * 9000 + b"gg_local"])
async def test_a_padded_header_is_good_and_not_remembered(store: Store, header: bytes) -> None:
    known = authenticator(store)
    assert await known.authenticate(header) == LOCAL
    assert known.recall(header) is None


async def test_a_token_is_recalled_until_it_expires_and_not_longer(store: Store) -> None:
    clock = Clock()
    known = authenticator(store, clock)
    header = b"Bearer " + token(claims(exp=int(time.time()) + 60)).encode()
    await known.authenticate(header)
    clock.ahead = 65
    assert known.recall(header) is not None
    clock.ahead = 71
    assert known.recall(header) is None


async def test_a_revoked_key_works_for_a_second_at_most(store: Store) -> None:
    clock = Clock()
    known, keys = authenticator(store, clock), KeyStore(store)
    key, record = await keys.create(NewKey("acme", "bob"))
    header = b"Bearer " + key.encode()
    await known.authenticate(header)
    await keys.revoke(record.id)
    assert await known.authenticate(header)
    clock.ahead = 1.01
    with pytest.raises(Unauthenticated):
        await known.authenticate(header)


async def test_a_key_that_is_known_works_while_redis_is_away_and_then_is_unavailable(
    private_redis: RedisServer, store_at: StoreAt
) -> None:
    clock = Clock()
    store = store_at(private_redis, breaker_seconds=60)
    known = authenticator(store, clock)
    key, _ = await KeyStore(store).create(NewKey("acme", "bob"))
    header = b"Bearer " + key.encode()
    await known.authenticate(header)
    private_redis.kill()
    assert await known.authenticate(header)
    clock.ahead = 2
    with pytest.raises(StoreDown):
        await known.authenticate(header)


async def test_tokens_and_local_keys_need_no_redis(private_redis: RedisServer, store_at: StoreAt) -> None:
    known = authenticator(store_at(private_redis))
    private_redis.kill()
    assert await known.authenticate(b"Bearer gg_local") == LOCAL
    assert await known.authenticate(b"Bearer " + token().encode())


async def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.identity.authenticator._CACHE_ENTRIES", 3)
    known = authenticator(store)
    headers = [b"Bearer " + token(claims(sub=f"u{number}")).encode() for number in range(5)]
    for header in headers:
        await known.authenticate(header)
    assert [known.recall(header) is not None for header in headers] == [False, False, True, True, True]


async def test_a_key_that_has_expired_is_refused_and_not_remembered_beyond_its_end(store: Store) -> None:
    clock = Clock()
    known = authenticator(store, clock)
    key, _ = await KeyStore(store).create(NewKey("acme", "bob", expires_at=int(time.time()) + 100))
    header = b"Bearer " + key.encode()
    clock.ahead = 99
    assert await known.authenticate(header)
    clock.ahead = 100.5
    assert known.recall(header) is None
    with pytest.raises(Unauthenticated, match="expired"):
        await known.authenticate(header)


async def test_what_is_revoked_is_forgotten_at_once_and_refused(private_redis: RedisServer, store_at: StoreAt) -> None:
    store = store_at(private_redis)
    revocations = Revocations(store)
    known = authenticator_of(store, revocations=revocations)
    headers = {name: b"Bearer " + token(claims(sub=name, jti=name, iat=int(time.time()))).encode() for name in "abc"}
    for header in headers.values():
        await known.authenticate(header)
    await revocations.revoke(mark_of_token("built-in", "a"), time.time() + 60)
    await revocations.revoke(mark_of_subject("built-in", "b"), time.time() + 60)
    assert [known.recall(header) is not None for header in headers.values()] == [False, False, True]
    for name in "ab":
        with pytest.raises(Unauthenticated, match="revoked"):
            await known.authenticate(headers[name])


async def test_a_principal_says_what_may_be_handed_on(store: Store) -> None:
    key, record = await KeyStore(store).create(NewKey("acme", None, frozenset({"chat"}), frozenset({"m"}), "gold"))
    header = b"Bearer " + key.encode()
    known = authenticator(store)
    principal = await known.principal(header)
    assert (principal.user, principal.models, principal.tier) == (record.id, frozenset({"m"}), "gold")
    assert principal.marks == (f"key:{record.id}",)
    assert not principal.by_token
    assert (await known.principal(b"Bearer " + token().encode())).by_token
    off = authenticator(store, mode=AuthMode.OFF)
    assert (await off.principal(None)).user == "anonymous"
