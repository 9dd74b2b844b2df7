"""Sessions on a real Redis: the owner's alone, one writer at a time, all or nothing, gone after their time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import redis

from config import SessionsSettings
from gateway.domain import Caller, SessionId
from gateway.errors import InvalidRequest, SessionNotFound, StoreDown
from gateway.sessions.records import SessionRecord, stored_message
from gateway.sessions.store import Busy, Leased, SessionStore
from gateway.store import Store, keys
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt


@pytest.fixture
def sessions(store: Store) -> SessionStore:
    """The store under test, with the default settings."""
    return SessionStore(store, SessionsSettings())


@pytest.fixture
def direct(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The same Redis, without the code under test."""
    with redis.Redis(unix_socket_path=redis_server.socket_path) as client:
        yield client


async def new(sessions: SessionStore, caller: Caller, ttl_seconds: int | None = None) -> SessionRecord:
    """Make a session."""
    return await sessions.create(caller, "Be brief.", "Title", "gemma-3n", ttl_seconds)


async def leased(sessions: SessionStore, caller: Caller, session_id: SessionId, token: str = "t") -> Leased:
    """Take the lease, which must be free."""
    lease = await sessions.lease(caller, session_id, token)
    assert isinstance(lease, Leased)
    return lease


def said(*texts: str) -> list[bytes]:
    """Return messages as they are kept."""
    return [stored_message("user", text, 1, None) for text in texts]


def others_of(caller: Caller) -> list[Caller]:
    """Return another user of the same tenant, and the same user of another tenant."""
    return [Caller(caller.tenant, caller.user + "2"), Caller(caller.tenant + "2", caller.user)]


async def test_a_session_is_read_as_it_was_made(sessions: SessionStore, caller: Caller) -> None:
    record = await new(sessions, caller)
    assert await sessions.read(caller, record.id) == record
    assert (record.system, record.title, record.model, record.user) == ("Be brief.", "Title", "gemma-3n", caller.user)
    assert (record.message_count, record.bytes, record.ttl_seconds) == (0, 0, 3600)
    assert await sessions.messages(caller, record.id) == []


def test_the_answers_shape_says_nothing_of_the_owner() -> None:
    shown = SessionRecord(SessionId("sess_1"), "ann", "s", "t", "", 9, 1, 2, 3, 4).as_json()
    assert shown == {
        "id": "sess_1",
        "object": "session",
        "title": "t",
        "system": "s",
        "model": None,
        "ttl_seconds": 9,
        "created_at": 1,
        "updated_at": 2,
        "message_count": 3,
    }


async def test_ids_cannot_be_guessed(sessions: SessionStore, caller: Caller) -> None:
    ids = {(await new(sessions, caller)).id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(session_id) == len("sess_") + 32 and session_id.startswith("sess_") for session_id in ids)


async def test_what_is_anothers_looks_as_if_it_did_not_exist(sessions: SessionStore, caller: Caller) -> None:
    record = await new(sessions, caller)
    for other in others_of(caller):
        for attempt in (
            sessions.read(other, record.id),
            sessions.messages(other, record.id),
            sessions.delete(other, record.id),
            sessions.lease(other, record.id, "t"),
        ):
            with pytest.raises(SessionNotFound) as caught:
                await attempt
            assert caught.value.message == f"There is no session '{record.id}'."
        assert (await sessions.page(other, 10, None))[0] == []
    assert await sessions.read(caller, record.id) == record


@pytest.mark.parametrize(
    "session_id",
    ["", "nope", "sess_", "sess_" + "0" * 32, "sess_" + "0" * 33, "{x}", "é", "\n", "*", "\ud800", "a b", "x" * 10_000],
)
async def test_an_id_that_is_none_is_not_found(sessions: SessionStore, caller: Caller, session_id: str) -> None:
    for attempt in (
        sessions.read(caller, SessionId(session_id)),
        sessions.messages(caller, SessionId(session_id)),
        sessions.delete(caller, SessionId(session_id)),
        sessions.lease(caller, SessionId(session_id), "t"),
    ):
        with pytest.raises(SessionNotFound):
            await attempt


@pytest.mark.parametrize("suffix", [":messages", ":lease"])
async def test_the_keys_behind_a_session_are_no_sessions(sessions: SessionStore, caller: Caller, suffix: str) -> None:
    record = await new(sessions, caller)
    await sessions.append(caller, await leased(sessions, caller, record.id), said("a"))
    await leased(sessions, caller, record.id)
    for attempt in (
        sessions.read(caller, SessionId(record.id + suffix)),
        sessions.lease(caller, SessionId(record.id + suffix), "t"),
        sessions.delete(caller, SessionId(record.id + suffix)),
    ):
        with pytest.raises(SessionNotFound):
            await attempt


# Leases.


async def test_only_one_of_many_gets_the_lease(sessions: SessionStore, caller: Caller) -> None:
    record = await new(sessions, caller)
    replies = await asyncio.gather(*(sessions.lease(caller, record.id, f"t{number}") for number in range(50)))
    assert [type(reply) for reply in replies].count(Leased) == 1
    assert all(29_000 < reply.milliseconds <= 30_000 for reply in replies if isinstance(reply, Busy))


async def test_a_lease_brings_what_was_said(sessions: SessionStore, caller: Caller) -> None:
    record = await new(sessions, caller)
    assert await sessions.append(caller, await leased(sessions, caller, record.id), said("a", "b"))
    lease = await leased(sessions, caller, record.id)
    assert [message["content"] for message in lease.messages] == ["a", "b"]
    assert lease.record.message_count == 2


async def test_a_lease_that_is_given_back_is_free(sessions: SessionStore, caller: Caller) -> None:
    record = await new(sessions, caller)
    for _ in range(3):
        sessions.release(caller, record.id, (await leased(sessions, caller, record.id)).token)


async def test_a_lease_cannot_be_given_back_by_another(sessions: SessionStore, caller: Caller) -> None:
    record = await new(sessions, caller)
    await leased(sessions, caller, record.id, "mine")
    sessions.release(caller, record.id, "theirs")
    assert isinstance(await sessions.lease(caller, record.id, "theirs"), Busy)


async def test_a_lease_of_a_dead_gateway_ends_by_itself(store: Store, caller: Caller) -> None:
    sessions = SessionStore(store, SessionsSettings(lease_seconds=0.1))
    record = await new(sessions, caller)
    await leased(sessions, caller, record.id, "dead")
    assert isinstance(await sessions.lease(caller, record.id, "next"), Busy)
    await asyncio.sleep(0.15)
    await leased(sessions, caller, record.id, "next")


async def test_a_lease_lasts_while_it_is_renewed(store: Store, caller: Caller) -> None:
    sessions = SessionStore(store, SessionsSettings(lease_seconds=0.4))
    record = await new(sessions, caller)
    lease = await leased(sessions, caller, record.id)
    for _ in range(4):
        await asyncio.sleep(0.15)
        assert await sessions.renew(caller, lease)
    assert isinstance(await sessions.lease(caller, record.id, "other"), Busy)


async def test_a_lost_lease_cannot_be_renewed(store: Store, caller: Caller) -> None:
    sessions = SessionStore(store, SessionsSettings(lease_seconds=0.05))
    record = await new(sessions, caller)
    lost = await leased(sessions, caller, record.id, "lost")
    await asyncio.sleep(0.1)
    assert not await sessions.renew(caller, lost)
    current = await leased(sessions, caller, record.id, "current")
    assert not await sessions.renew(caller, lost)
    assert current.token == "current"


# Appending.


async def test_append_counts_stores_in_order_and_frees_the_session(
    sessions: SessionStore, caller: Caller, direct: redis.Redis
) -> None:
    record = await new(sessions, caller)
    for turn in range(3):
        messages = said(f"q{turn}", f"a{turn} 早")
        assert await sessions.append(caller, await leased(sessions, caller, record.id), messages)
    kept = await sessions.messages(caller, record.id)
    assert [message["content"] for message in kept] == ["q0", "a0 早", "q1", "a1 早", "q2", "a2 早"]
    after = await sessions.read(caller, record.id)
    raw: Any = direct.lrange(keys.session_messages(caller.tenant, record.id), 0, -1)
    assert (after.message_count, after.bytes) == (6, sum(map(len, raw)))
    assert direct.exists(keys.session_lease(caller.tenant, record.id)) == 0


async def test_a_writer_whose_lease_ran_out_changes_nothing(store: Store, caller: Caller) -> None:
    sessions = SessionStore(store, SessionsSettings(lease_seconds=0.05))
    record = await new(sessions, caller)
    late = await leased(sessions, caller, record.id, "late")
    await asyncio.sleep(0.1)
    assert not await sessions.append(caller, late, said("late"))
    assert await sessions.messages(caller, record.id) == []
    assert await sessions.read(caller, record.id) == record


async def test_a_writer_whose_lease_is_now_anothers_changes_nothing(store: Store, caller: Caller) -> None:
    sessions = SessionStore(store, SessionsSettings(lease_seconds=0.2))
    record = await new(sessions, caller)
    late = await leased(sessions, caller, record.id, "late")
    await asyncio.sleep(0.25)
    current = await leased(sessions, caller, record.id, "current")
    assert not await sessions.append(caller, late, said("late"))
    assert await sessions.append(caller, current, said("current"))
    assert [message["content"] for message in await sessions.messages(caller, record.id)] == ["current"]


async def test_a_lease_is_good_for_one_append(sessions: SessionStore, caller: Caller) -> None:
    record = await new(sessions, caller)
    lease = await leased(sessions, caller, record.id)
    assert await sessions.append(caller, lease, said("a"))
    assert not await sessions.append(caller, lease, said("b"))
    assert [message["content"] for message in await sessions.messages(caller, record.id)] == ["a"]


async def test_nothing_is_appended_to_a_session_that_was_deleted_meanwhile(
    sessions: SessionStore, caller: Caller, direct: redis.Redis
) -> None:
    record = await new(sessions, caller)
    lease = await leased(sessions, caller, record.id)
    await sessions.delete(caller, record.id)
    assert not await sessions.append(caller, lease, said("a"))
    assert direct.keys(f"gg:{{{caller.tenant}}}:session:*") == []


async def test_of_many_writers_at_once_every_turn_is_whole(sessions: SessionStore, caller: Caller) -> None:
    """Question and answer always stand together, whoever comes first."""
    record = await new(sessions, caller)

    async def write(number: int) -> bool:
        for _ in range(200):
            lease = await sessions.lease(caller, record.id, f"t{number}")
            if isinstance(lease, Leased):
                assert len(lease.messages) % 2 == 0
                return await sessions.append(caller, lease, said(f"q{number}", f"a{number}"))
            await asyncio.sleep(0.002)
        return False

    assert all(await asyncio.gather(*(write(number) for number in range(20))))
    texts = [message["content"] for message in await sessions.messages(caller, record.id)]
    assert len(texts) == 40
    assert all(question[1:] == answer[1:] for question, answer in zip(texts[::2], texts[1::2], strict=True))


def test_a_message_has_the_shape_that_is_shown() -> None:
    message = orjson.loads(stored_message("assistant", "Hi", 5, "stop"))
    assert message.pop("id").startswith("msg_")
    assert message == {
        "object": "session.message",
        "role": "assistant",
        "content": "Hi",
        "created_at": 5,
        "finish_reason": "stop",
    }


# Time to live.


async def test_all_keys_of_a_session_end_after_its_time_to_live(
    sessions: SessionStore, caller: Caller, direct: redis.Redis
) -> None:
    record = await new(sessions, caller, ttl_seconds=100)
    assert 0 < int(direct.ttl(keys.session(caller.tenant, record.id))) <= 100
    await sessions.append(caller, await leased(sessions, caller, record.id), said("a"))
    for name in (keys.session, keys.session_messages):
        assert 98 <= int(direct.ttl(name(caller.tenant, record.id))) <= 100


async def test_a_session_in_use_does_not_end(sessions: SessionStore, caller: Caller, direct: redis.Redis) -> None:
    """Both a turn's beginning and its end start the time anew."""
    record = await new(sessions, caller, ttl_seconds=100)
    names = [name(caller.tenant, record.id) for name in (keys.session, keys.session_messages)]
    await sessions.append(caller, await leased(sessions, caller, record.id), said("a"))
    for name in names:
        direct.expire(name, 5)
    lease = await leased(sessions, caller, record.id)
    assert all(int(direct.ttl(name)) > 90 for name in names)
    for name in names:
        direct.expire(name, 5)
    assert await sessions.append(caller, lease, said("b"))
    assert all(int(direct.ttl(name)) > 90 for name in names)


async def test_a_long_turn_keeps_a_short_lived_session_alive(
    sessions: SessionStore, caller: Caller, direct: redis.Redis
) -> None:
    record = await new(sessions, caller, ttl_seconds=100)
    lease = await leased(sessions, caller, record.id)
    direct.expire(keys.session(caller.tenant, record.id), 5)
    assert await sessions.renew(caller, lease)
    assert int(direct.ttl(keys.session(caller.tenant, record.id))) > 90


async def test_a_session_whose_time_is_over_is_not_found(sessions: SessionStore, caller: Caller) -> None:
    record = await new(sessions, caller, ttl_seconds=1)
    await asyncio.sleep(1.1)
    with pytest.raises(SessionNotFound):
        await sessions.read(caller, record.id)


# Lists and caps.


async def test_a_page_has_the_latest_used_first_and_goes_on_after_an_id(
    sessions: SessionStore, caller: Caller, direct: redis.Redis
) -> None:
    ids = [(await new(sessions, caller)).id for _ in range(5)]
    for used, session_id in enumerate(ids):
        direct.zadd(keys.sessions_of(caller.tenant, caller.user), {session_id: used})
    found: list[str] = []
    after: SessionId | None = None
    more = True
    while more:
        page, more = await sessions.page(caller, 2, after)
        found += [record.id for record in page]
        after = page[-1].id
    assert found == ids[::-1]


async def test_the_last_page_says_that_it_is_the_last(sessions: SessionStore, caller: Caller) -> None:
    for _ in range(2):
        await new(sessions, caller)
    assert (await sessions.page(caller, 2, None))[1] is False
    assert (await sessions.page(caller, 1, None))[1] is True


async def test_using_a_session_brings_it_to_the_top(
    sessions: SessionStore, caller: Caller, direct: redis.Redis
) -> None:
    ids = [(await new(sessions, caller)).id for _ in range(3)]
    for used, session_id in enumerate(ids):
        direct.zadd(keys.sessions_of(caller.tenant, caller.user), {session_id: used})
    await sessions.append(caller, await leased(sessions, caller, ids[0]), said("a"))
    assert (await sessions.page(caller, 1, None))[0][0].id == ids[0]


async def test_a_list_leaves_out_what_has_expired_and_forgets_it(
    sessions: SessionStore, caller: Caller, direct: redis.Redis, store: Store
) -> None:
    gone, there = await new(sessions, caller), await new(sessions, caller)
    direct.delete(keys.session(caller.tenant, gone.id))
    records, more = await sessions.page(caller, 10, None)
    assert ([record.id for record in records], more) == ([there.id], False)
    await store.ping()
    assert direct.zcard(keys.sessions_of(caller.tenant, caller.user)) == 1


async def test_a_page_after_something_unknown_names_the_parameter(sessions: SessionStore, caller: Caller) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await sessions.page(caller, 2, SessionId("sess_" + "0" * 32))
    assert caught.value.param == "after"


async def test_a_user_may_have_only_so_many_sessions_and_others_are_not_counted(store: Store, caller: Caller) -> None:
    sessions = SessionStore(store, SessionsSettings(max_per_user=2))
    for _ in range(2):
        await new(sessions, caller)
    with pytest.raises(InvalidRequest) as caught:
        await new(sessions, caller)
    assert caught.value.envelope()["error"]["code"] == "too_many_sessions"
    for other in others_of(caller):
        await new(sessions, other)


async def test_deleted_and_expired_sessions_are_not_counted(store: Store, caller: Caller, direct: redis.Redis) -> None:
    sessions = SessionStore(store, SessionsSettings(max_per_user=2))
    first, second = await new(sessions, caller), await new(sessions, caller)
    await sessions.delete(caller, first.id)
    await new(sessions, caller)
    direct.delete(keys.session(caller.tenant, second.id))
    await new(sessions, caller)


async def test_deleting_leaves_no_key_behind(sessions: SessionStore, caller: Caller, direct: redis.Redis) -> None:
    record = await new(sessions, caller)
    await sessions.append(caller, await leased(sessions, caller, record.id), said("a"))
    await leased(sessions, caller, record.id)
    await sessions.delete(caller, record.id)
    assert direct.keys(f"gg:{{{caller.tenant}}}:*") == []


async def test_without_redis_every_use_says_so(private_redis: RedisServer, store_at: StoreAt, caller: Caller) -> None:
    sessions = SessionStore(store_at(private_redis, breaker_seconds=60), SessionsSettings())
    record = await new(sessions, caller)
    lease = await leased(sessions, caller, record.id)
    private_redis.kill()
    for attempt in (
        sessions.read(caller, record.id),
        sessions.page(caller, 1, None),
        sessions.lease(caller, record.id, "t"),
        sessions.append(caller, lease, said("a")),
        new(sessions, caller),
    ):
        with pytest.raises(StoreDown):
            await attempt
    sessions.release(caller, record.id, lease.token)


async def test_sessions_survive_a_restart_of_redis(
    private_redis: RedisServer, store_at: StoreAt, caller: Caller
) -> None:
    sessions = SessionStore(store_at(private_redis, breaker_seconds=0.01), SessionsSettings())
    record = await new(sessions, caller)
    await sessions.append(caller, await leased(sessions, caller, record.id), said("a"))
    private_redis.kill()
    private_redis.start()
    await asyncio.sleep(0.05)
    for _ in range(5):
        try:
            await sessions.read(caller, record.id)
        except StoreDown:  # The connection that the old server had closed.
            await asyncio.sleep(0.05)
    assert [message["content"] for message in await sessions.messages(caller, record.id)] == ["a"]
