"""The store on a real Redis: one round trip a turn, bounded in time when Redis is away, well again by itself."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import time
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr
from redis.exceptions import RedisError

from config import RedisSettings
from config.schema import AuthMode
from gateway.errors import StoreDown
from gateway.store import Script, Store, open_store
from gateway.store.scripts import NotLoaded, Prepared, load_script
from gateway.telemetry.metrics import Metrics
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt

TIMEOUT_SECONDS = 1.0
SLACK_SECONDS = 2.0
"""What a busy machine may add before a bound of time counts as broken."""
IMPATIENT = {"timeout_seconds": TIMEOUT_SECONDS, "connect_timeout_seconds": 1.0, "breaker_seconds": 0.2}


def script(text: str) -> Script:
    """Return a script that Redis does not know."""
    unknown = f"-- {uuid.uuid4().hex}\n{text}"
    return Script(unknown, hashlib.sha1(unknown.encode()).hexdigest())


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    """Return a sample's value, 0 where there is none."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


def failures(metrics: Metrics) -> float:
    """Return how many round trips have failed, for whatever reason."""
    samples = (each for family in metrics.registry.collect() for each in family.samples)
    return sum(each.value for each in samples if each.name == "gateway_redis_failures_total")


@pytest.fixture
async def impatient(store_at: StoreAt, private_redis: RedisServer) -> AsyncIterator[Store]:
    """A connected store with the time-outs of production, on a Redis of its own."""
    store = store_at(private_redis, **IMPATIENT)
    for _ in range(20):
        try:
            await store.ping()
            break
        except StoreDown:  # The machine was too busy for so short a time-out.
            await asyncio.sleep(0.25)
    yield store
    with suppress(ProcessLookupError):  # A test may have killed it.
        private_redis.cont()


async def seconds_until_down(store: Store, *, at_once: int = 1) -> float:
    """Make calls at once, which must all fail, and return how long it took until the last had."""
    started = time.perf_counter()
    results = await asyncio.gather(*(store.call("PING") for _ in range(at_once)), return_exceptions=True)
    assert {type(result) for result in results} == {StoreDown}
    return time.perf_counter() - started


async def recovered(store: Store) -> None:
    """Wait until a call succeeds, without any help."""
    deadline = time.monotonic() + 5
    while True:
        try:
            await store.call("PING")
            return
        except StoreDown:
            assert time.monotonic() < deadline, "the store did not recover"
            await asyncio.sleep(0.05)


def calls_of(server: RedisServer, *commands: str) -> list[int]:
    """Return how often a Redis was given each of these commands."""
    with redis.Redis(unix_socket_path=server.socket_path) as client:
        stats = client.info("commandstats")
    return [stats[f"cmdstat_{command}"]["calls"] for command in commands]


# Well.


async def test_replies_come_as_redis_sends_them(store: Store) -> None:
    key = uuid.uuid4().hex
    assert await store.call("HSET", key, "a", 1, "b", "ü", "c", b"\xff") == 3
    assert await store.call("HGETALL", key) == [b"a", b"1", b"b", "ü".encode(), b"c", b"\xff"]
    assert await store.call("GET", key + "x") is None
    assert await store.call("DEL", key) == 1


async def test_calls_of_one_turn_share_a_round_trip(store_at: StoreAt, private_redis: RedisServer) -> None:
    store = store_at(private_redis)
    await store.ping()
    with redis.Redis(unix_socket_path=private_redis.socket_path) as client:

        def reads() -> int:
            count: int = client.info("stats")["total_reads_processed"]
            return count

        before = reads()
        await asyncio.gather(*(store.call("ECHO", number) for number in range(100)))
        together = reads() - before
        before = reads()
        for number in range(100):
            await store.call("ECHO", number)
        alone = reads() - before
    assert together <= 3
    assert alone >= 100


async def test_everyone_gets_the_reply_to_what_they_asked(store: Store) -> None:
    async def ask(number: int) -> bytes:
        await asyncio.sleep(number % 7 / 1000)
        reply: bytes = await store.call("ECHO", number)
        return reply

    replies = await asyncio.gather(*(ask(number) for number in range(1000)))
    assert replies == [str(number).encode() for number in range(1000)]


async def test_calls_of_one_turn_reach_redis_in_their_order(store: Store) -> None:
    key = uuid.uuid4().hex
    await asyncio.gather(*(store.call("RPUSH", key, number) for number in range(600)))
    assert [int(item) for item in await store.call("LRANGE", key, 0, -1)] == list(range(600))


async def test_a_command_that_redis_refuses_fails_alone(store: Store, metrics: Metrics) -> None:
    results = await asyncio.gather(
        store.call("ECHO", "a"), store.call("NONSENSE"), store.call("ECHO", "b"), return_exceptions=True
    )
    assert (results[0], results[2]) == (b"a", b"b")
    assert isinstance(results[1], RedisError)
    assert store.healthy
    assert sample(metrics, "gateway_redis_up") == 1


async def test_an_argument_that_cannot_be_sent_fails_alone(store: Store) -> None:
    results = await asyncio.wait_for(
        asyncio.gather(
            store.call("ECHO", "a"), store.call("ECHO", "\ud800"), store.call("ECHO", "b"), return_exceptions=True
        ),
        5,
    )
    assert (results[0], results[2]) == (b"a", b"b")
    assert isinstance(results[1], UnicodeEncodeError)
    assert store.healthy


async def test_arguments_that_have_a_text_are_sent_as_it(store: Store) -> None:
    key = uuid.uuid4().hex
    await store.call("RPUSH", key, 1, 0.1, True, AuthMode.OFF, 10**25, b"\xff")
    items = [b"1", b"0.1", b"True", b"off", str(10**25).encode(), b"\xff"]
    assert await store.call("LRANGE", key, 0, -1) == items


async def test_ten_thousand_calls_at_once_end_in_time_and_leave_nothing_behind(store: Store) -> None:
    await store.ping()
    tracemalloc.start()
    try:
        started = time.perf_counter()
        replies = await asyncio.gather(*(store.call("ECHO", "x" * 100) for _ in range(10_000)))
        assert time.perf_counter() - started < 10
        assert replies == [b"x" * 100] * 10_000
        assert tracemalloc.get_traced_memory()[1] < 100e6
        del replies
        await asyncio.sleep(0)  # This turn's handle holds the calls.
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 5e6
    finally:
        tracemalloc.stop()


async def test_a_caller_that_leaves_takes_no_other_with_it(store: Store) -> None:
    leaving = asyncio.create_task(store.call("ECHO", "a"))
    staying = asyncio.create_task(store.call("ECHO", "b"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == b"b"
    assert leaving.cancelled() or leaving.cancelling()
    assert await store.call("ECHO", "c") == b"c"


async def test_what_a_caller_asked_for_is_done_though_it_left(store: Store) -> None:
    key = uuid.uuid4().hex
    leaving = asyncio.create_task(store.call("SET", key, "1"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await store.call("GET", key) == b"1"


async def test_what_is_posted_is_done_and_nobody_waits(store: Store) -> None:
    key = uuid.uuid4().hex
    store.post("SET", key, "1")
    assert await store.call("GET", key) == b"1"


async def test_a_posted_command_that_fails_disturbs_nobody(store: Store) -> None:
    store.post("NONSENSE")
    assert await store.call("ECHO", "a") == b"a"


async def test_a_posted_call_that_redis_will_not_do_is_counted(store: Store, metrics: Metrics) -> None:
    key = uuid.uuid4().hex
    await store.call("SET", key, "no hash")
    text = "return redis.call('HGET', KEYS[1], 'a')"
    failing = Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
    store.post_script(failing, [key], [])
    store.post_prepared(Prepared(failing, (key,), (), 0), (), lambda: None)
    store.post("HGET", key, "a")
    await store.ping()
    assert metrics.registry.get_sample_value("gateway_redis_refused_total") == 3


async def test_what_is_pending_goes_out_before_the_store_closes(
    store_at: StoreAt, private_redis: RedisServer, store: Store
) -> None:
    closing = store_at(private_redis)
    for number in range(600):
        closing.post("RPUSH", "k", number)
    await closing.aclose()
    assert await store_at(private_redis).call("LLEN", "k") == 600


async def test_ping_is_timed_and_info_is_a_mapping(store: Store) -> None:
    assert 0 < await store.ping() < 5
    assert (await store.info())["redis_version"]


# Scripts.


async def test_a_script_that_redis_does_not_know_is_loaded(store: Store) -> None:
    doubling = script("return ARGV[1] * 2")
    assert await store.run(doubling, [], [21]) == 42
    assert await store.run(doubling, [], [4]) == 8


async def test_scripts_are_loaded_again_after_redis_forgot_them(store_at: StoreAt, private_redis: RedisServer) -> None:
    store, doubling = store_at(private_redis), script("return ARGV[1] * 2")
    assert await store.run(doubling, [], [1]) == 2
    await store.call("SCRIPT", "FLUSH")
    replies = await asyncio.gather(*(store.run(doubling, [], [number]) for number in range(50)))
    assert replies == [2 * number for number in range(50)]
    assert await store.call("SCRIPT", "EXISTS", doubling.sha) == [1]


async def test_many_who_are_the_first_load_a_script_once(store_at: StoreAt, private_redis: RedisServer) -> None:
    store, doubling = store_at(private_redis), script("return ARGV[1] * 2")
    replies = await asyncio.gather(*(store.run(doubling, [], [number]) for number in range(100)))
    assert replies == [2 * number for number in range(100)]
    assert calls_of(private_redis, "eval", "evalsha") == [1, 99]


async def test_a_script_is_loaded_though_who_was_the_first_left(store: Store) -> None:
    doubling = script("return ARGV[1] * 2")
    leaving = asyncio.create_task(store.run(doubling, [], [1]))
    staying = asyncio.create_task(store.run(doubling, [], [2]))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 4


async def test_a_script_is_loaded_though_the_first_could_not_be_sent(store: Store) -> None:
    doubling = script("return ARGV[1] * 2")
    with pytest.raises(UnicodeEncodeError):
        await store.run(doubling, [], ["\ud800"])
    assert await store.run(doubling, [], [2]) == 4


async def test_scripts_that_were_forgotten_leave_no_errors_behind(
    store_at: StoreAt, private_redis: RedisServer
) -> None:
    store, doubling = store_at(private_redis), script("return ARGV[1] * 2")
    assert await store.run(doubling, [], [1]) == 2
    await store.call("SCRIPT", "FLUSH")
    gc.collect()
    gc.disable()
    try:
        await asyncio.gather(*(store.run(doubling, [], [number]) for number in range(50)))
        with pytest.raises(RedisError):
            await store.run(script("return redis.call('NONSENSE')"), [], [])
        left = [each for each in gc.get_objects() if type(each) is NotLoaded]
    finally:
        gc.enable()
    assert left == []
    assert calls_of(private_redis, "eval", "evalsha") == [52, 50]


async def test_a_script_that_redis_does_not_know_fails_nobody_else(store: Store) -> None:
    doubling = script("return ARGV[1] * 2")
    replies: list[object] = list(await asyncio.gather(store.call("ECHO", "a"), store.run(doubling, [], [2])))
    assert replies == [b"a", 4]
    assert store.healthy


async def test_an_error_in_a_script_is_its_callers(store: Store) -> None:
    with pytest.raises(RedisError):
        await store.run(script("return redis.call('NONSENSE')"), [], [])
    assert store.healthy


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("gateway.quota", "reserve.lua"),
        ("gateway.quota", "settle.lua"),
        ("gateway.quota", "renew.lua"),
        ("gateway.quota", "reap.lua"),
        ("gateway.quota", "beat.lua"),
        ("gateway.sessions", "lease.lua"),
        ("gateway.sessions", "append.lua"),
        ("gateway.sessions", "release.lua"),
        ("gateway.sessions", "renew.lua"),
    ],
)
async def test_every_script_is_valid_and_named_by_the_digest_that_redis_gives_it(
    store: Store, package: str, name: str
) -> None:
    loaded = load_script(package, name)
    assert await store.call("SCRIPT", "LOAD", loaded.text) == loaded.sha.encode()


async def test_a_prepared_call_does_what_the_whole_call_does(store: Store) -> None:
    echo = script("return {KEYS[1], KEYS[2], unpack(ARGV)}")
    prepared = Prepared(echo, ("{k}1", "{k}2"), (7, "ä b", 2.5), varying=2)
    for last in (("x", 1), ("", "\r\n$3"), ("ü", 0)):
        whole = await store.run(echo, prepared.keys, [*prepared.arguments, *last])
        assert await store.run_prepared(prepared, last) == whole
        assert len(whole) == 7


def test_a_prepared_call_with_too_few_or_too_many_arguments_is_not_sent() -> None:
    prepared = Prepared(script("return 1"), ("k",), (), varying=2)
    for last in ((), (1,), (1, 2, 3)):
        with pytest.raises(ValueError, match="wants 2"):
            prepared.packed(last)


async def test_a_posted_script_that_redis_has_forgotten_is_sent_in_full(
    impatient: Store, private_redis: RedisServer
) -> None:
    count = script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    prepared = Prepared(count, ("k",), (), varying=1)
    lost: list[int] = []
    for _ in range(3):
        impatient.post_prepared(prepared, (2,), lambda: lost.append(1))
        await impatient.ping()
        await impatient.call("SCRIPT", "FLUSH")
    await impatient.ping()
    assert await impatient.call("GET", "k") == b"6"
    assert lost == []


async def test_whoever_posts_is_told_once_where_it_may_be_lost(impatient: Store, private_redis: RedisServer) -> None:
    prepared = Prepared(script("return 1"), ("k",), (), varying=0)
    lost: list[int] = []
    private_redis.stop()
    impatient.post_prepared(prepared, (), lambda: lost.append(1))
    await seconds_until_down(impatient)
    assert lost == [1]
    impatient.post_prepared(prepared, (), lambda: lost.append(2))
    assert lost == [1, 2], "a Redis that is known to be away was asked"


# Away.


async def test_a_frozen_redis_is_found_out_within_the_time_out(impatient: Store, private_redis: RedisServer) -> None:
    private_redis.stop()
    assert TIMEOUT_SECONDS * 0.9 <= await seconds_until_down(impatient) < TIMEOUT_SECONDS + SLACK_SECONDS
    assert not impatient.healthy


async def test_many_calls_at_a_frozen_redis_fail_together_and_not_batch_by_batch(
    impatient: Store, private_redis: RedisServer, metrics: Metrics
) -> None:
    before = failures(metrics)
    private_redis.stop()
    await seconds_until_down(impatient, at_once=2000)
    assert failures(metrics) == before + 1


async def test_who_comes_while_a_call_hangs_does_not_wait_for_a_try_of_its_own(
    impatient: Store, private_redis: RedisServer, metrics: Metrics
) -> None:
    before = failures(metrics)
    private_redis.stop()
    first = asyncio.create_task(seconds_until_down(impatient))
    await asyncio.sleep(TIMEOUT_SECONDS / 2)
    await seconds_until_down(impatient)
    await first
    assert failures(metrics) == before + 1


async def test_while_the_breaker_is_open_nothing_is_tried(
    store_at: StoreAt, private_redis: RedisServer, metrics: Metrics
) -> None:
    store = store_at(private_redis, timeout_seconds=1, breaker_seconds=60)
    private_redis.stop()
    await seconds_until_down(store)
    assert await seconds_until_down(store, at_once=1000) < SLACK_SECONDS
    assert failures(metrics) == 1


async def test_the_breaker_tries_again_and_one_call_alone_pays_for_it(
    store_at: StoreAt, private_redis: RedisServer, metrics: Metrics
) -> None:
    store = store_at(private_redis, timeout_seconds=2, connect_timeout_seconds=2, breaker_seconds=0.5)
    private_redis.stop()
    await seconds_until_down(store)
    await asyncio.sleep(0.5)
    probing = asyncio.create_task(seconds_until_down(store))
    await asyncio.sleep(0)
    assert await seconds_until_down(store, at_once=100) < 1.5
    assert not probing.done()
    await probing
    assert failures(metrics) == 2


async def test_a_redis_that_thaws_is_used_again_by_itself_and_no_reply_goes_astray(
    impatient: Store, private_redis: RedisServer, metrics: Metrics
) -> None:
    private_redis.stop()
    late = [impatient.call("ECHO", f"late{number}") for number in range(10)]
    assert {type(result) for result in await asyncio.gather(*late, return_exceptions=True)} == {StoreDown}
    assert sample(metrics, "gateway_redis_up") == 0
    private_redis.cont()
    await recovered(impatient)
    for number in range(50):
        assert await impatient.call("ECHO", number) == str(number).encode()
    assert impatient.healthy
    assert sample(metrics, "gateway_redis_up") == 1


async def test_a_killed_redis_is_found_out_at_once_and_used_again_when_it_is_back(
    impatient: Store, private_redis: RedisServer, metrics: Metrics
) -> None:
    await impatient.call("SET", "k", "kept")
    private_redis.kill()
    before = failures(metrics)
    assert await seconds_until_down(impatient, at_once=100) < SLACK_SECONDS
    assert failures(metrics) == before + 1
    private_redis.start()
    await recovered(impatient)
    assert await impatient.call("GET", "k") == b"kept"


async def test_scripts_work_again_after_a_restart(impatient: Store, private_redis: RedisServer) -> None:
    doubling = script("return ARGV[1] * 2")
    assert await impatient.run(doubling, [], [1]) == 2
    private_redis.kill()
    await seconds_until_down(impatient)
    private_redis.start()
    await recovered(impatient)
    assert await impatient.run(doubling, [], [2]) == 4


async def test_nothing_is_posted_to_a_redis_that_is_away(impatient: Store, private_redis: RedisServer) -> None:
    private_redis.kill()
    await seconds_until_down(impatient)
    impatient.post("SET", "k", "1")
    private_redis.start()
    await recovered(impatient)
    assert await impatient.call("GET", "k") is None


async def test_what_is_posted_does_not_use_up_the_one_try_that_a_caller_waits_for(
    impatient: Store, private_redis: RedisServer
) -> None:
    private_redis.kill()
    await seconds_until_down(impatient)
    private_redis.start()
    await asyncio.sleep(IMPATIENT["breaker_seconds"])
    impatient.post("SET", "k", "1")
    assert await impatient.call("ECHO", "a") == b"a"
    assert await impatient.call("GET", "k") is None


async def test_what_was_posted_when_redis_went_away_disturbs_nobody(
    impatient: Store, private_redis: RedisServer
) -> None:
    private_redis.kill()
    impatient.post("SET", "k", "1")
    await seconds_until_down(impatient)


async def test_a_store_closes_though_redis_is_frozen(impatient: Store, private_redis: RedisServer) -> None:
    private_redis.stop()
    impatient.post("SET", "k", "1")
    await asyncio.wait_for(impatient.aclose(), TIMEOUT_SECONDS + SLACK_SECONDS)


async def test_a_redis_that_takes_no_more_data_counts_as_away_where_data_is_written(
    store_at: StoreAt, private_redis: RedisServer
) -> None:
    store = store_at(private_redis)
    await store.call("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(StoreDown):
        await store.call("SET", "k", "1")
    with pytest.raises(StoreDown):
        await store.run(script("return redis.call('SET', KEYS[1], '1')"), ["k"], [])
    assert await store.call("GET", "k") is None


async def write(store: Store) -> object:
    """Write, by a command."""
    return await store.call("SET", "k", "1")


async def write_by_script(store: Store) -> object:
    """Write, by a script."""
    return await store.run(script("return redis.call('SET', KEYS[1], '1')"), ["k"], [])


async def hear_of_an_older_redis(store: Store) -> object:
    """Get the error that a script gets which writes to a replica of before Redis 7."""
    said = "Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can\\'t write"
    return await store.run(script(f"return redis.error_reply('ERR {said}')"), [], [])


async def read_without_a_master(store: Store) -> object:
    """Read where a replica that has lost its master answers nothing."""
    await store.call("CONFIG", "SET", "replica-serve-stale-data", "no")
    return await store.call("GET", "k")


@pytest.mark.parametrize("use", [write, write_by_script, hear_of_an_older_redis, read_without_a_master])
async def test_a_replica_counts_as_away_and_is_tried_no_more_often_than_the_breaker_lets_it(
    store_at: StoreAt, private_redis: RedisServer, metrics: Metrics, use: Callable[[Store], Awaitable[object]]
) -> None:
    store = store_at(private_redis, breaker_seconds=60)
    await store.call("REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(StoreDown):
        await use(store)
    assert not store.healthy
    assert await seconds_until_down(store, at_once=100) < SLACK_SECONDS
    assert (failures(metrics), sample(metrics, "gateway_redis_failures_total", error="NotMaster")) == (1, 1)


async def test_a_master_that_became_a_replica_is_left_for_whom_its_address_leads_to_by_then(
    private_redis: RedisServer, redis_server: RedisServer, metrics: Metrics, tmp_path: Path
) -> None:
    """As after a failover behind one name: the old master lives, and keeps its connections."""
    address, draft, key = tmp_path / "r.sock", tmp_path / "draft", uuid.uuid4().hex
    address.symlink_to(private_redis.socket_path)
    store = open_store(RedisSettings(url=SecretStr(f"unix://{address}"), **IMPATIENT), metrics)
    await recovered(store)
    await store.call("REPLICAOF", "127.0.0.1", 1)
    draft.symlink_to(redis_server.socket_path)
    draft.replace(address)
    async with asyncio.timeout(10):
        while True:
            with suppress(StoreDown):
                assert await store.call("SET", key, "1") == b"OK"
                break
            await asyncio.sleep(0.05)
    assert store.healthy
    with redis.Redis(unix_socket_path=redis_server.socket_path) as direct:
        assert direct.get(key) == b"1"
    await store.aclose()
