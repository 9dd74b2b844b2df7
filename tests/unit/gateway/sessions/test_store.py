"""Sessions on a real Redis: the owner's alone, one writer at a time, all or nothing, gone after their time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis

from gateway.domain import Caller, SessionId
from gateway.errors import InvalidRequest, SessionNotFound, StoreDown
from gateway.sessions import NewSession, SessionContent, SessionRecord
from gateway.sessions.leases import Busy, Leased
from gateway.sessions.messages import message, new_message
from gateway.store import Store, keys
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt
from tests.unit.gateway.sessions.kept import Kept, added, texts


@pytest.fixture
def sessions(store: Store) -> Kept:
    """What is under test, with the default settings."""
    return Kept(store)


@pytest.fixture
def direct(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The same Redis, without the code under test."""
    with redis.Redis(unix_socket_path=redis_server.socket_path) as client:
        yield client


async def new(sessions: Kept, caller: Caller, ttl_seconds: int | None = None) -> SessionRecord:
    """Make a session."""
    content = SessionContent("Be brief.", "Title", {"k": "v"})
    return await sessions.store.create(caller, NewSession(content, "gemma-3n", ttl_seconds))


async def leased(sessions: Kept, caller: Caller, session_id: SessionId, token: str = "t") -> Leased:
    """Take the lease, which must be free."""
    lease = await sessions.leases.take(caller, session_id, token)
    assert isinstance(lease, Leased)
    return lease


def others_of(caller: Caller) -> list[Caller]:
    """Return another user of the same tenant, and the same user of another tenant."""
    return [Caller(caller.tenant, caller.user + "2"), Caller(caller.tenant + "2", caller.user)]


async def test_a_session_is_read_as_it_was_made(sessions: Kept, caller: Caller) -> None:
    record = await new(sessions, caller)
    assert await sessions.store.read(caller, record.id) == record
    assert record.content == SessionContent("Be brief.", "Title", {"k": "v"})
    assert (record.model, record.user) == ("gemma-3n", caller.user)
    assert (record.message_count, record.bytes, record.ttl_seconds) == (0, 0, 3600)
    assert (await sessions.store.read_whole(caller, record.id))[1] == []


def test_the_answers_shape_says_nothing_of_the_owner() -> None:
    content = SessionContent("s", "t", {"k": "v"})
    shown = SessionRecord(SessionId("sess_1"), "ann", content, "", 9, 1, 2, 3, 4).as_json()
    assert shown == {
        "id": "sess_1",
        "object": "session",
        "title": "t",
        "system": "s",
        "metadata": {"k": "v"},
        "model": None,
        "ttl_seconds": 9,
        "created_at": 1,
        "updated_at": 2,
        "message_count": 3,
    }


async def test_ids_cannot_be_guessed(sessions: Kept, caller: Caller) -> None:
    ids = {(await new(sessions, caller)).id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(session_id) == len("sess_") + 32 and session_id.startswith("sess_") for session_id in ids)


async def test_what_is_anothers_looks_as_if_it_did_not_exist(sessions: Kept, caller: Caller) -> None:
    record = await new(sessions, caller)
    for other in others_of(caller):
        for attempt in (
            sessions.store.read(other, record.id),
            sessions.store.read_whole(other, record.id),
            sessions.store.delete(other, record.id),
            sessions.leases.take(other, record.id, "t"),
        ):
            with pytest.raises(SessionNotFound) as caught:
                await attempt
            assert caught.value.message == f"There is no session '{record.id}'."
        assert (await sessions.store.page(other, 10, None))[0] == []
    assert await sessions.store.read(caller, record.id) == record


@pytest.mark.parametrize(
    "session_id",
    ["", "nope", "sess_", "sess_" + "0" * 32, "sess_" + "0" * 33, "{x}", "é", "\n", "*", "\ud800", "a b", "x" * 10_000],
)
async def test_an_id_that_is_none_is_not_found(sessions: Kept, caller: Caller, session_id: str) -> None:
    for attempt in (
        sessions.store.read(caller, SessionId(session_id)),
        sessions.store.read_whole(caller, SessionId(session_id)),
        sessions.store.delete(caller, SessionId(session_id)),
        sessions.leases.take(caller, SessionId(session_id), "t"),
    ):
        with pytest.raises(SessionNotFound):
            await attempt


@pytest.mark.parametrize("suffix", [":messages", ":lease"])
async def test_the_keys_behind_a_session_are_no_sessions(sessions: Kept, caller: Caller, suffix: str) -> None:
    record = await new(sessions, caller)
    await sessions.leases.append(caller, await leased(sessions, caller, record.id), added("a"))
    await leased(sessions, caller, record.id)
    for attempt in (
        sessions.store.read(caller, SessionId(record.id + suffix)),
        sessions.leases.take(caller, SessionId(record.id + suffix), "t"),
        sessions.store.delete(caller, SessionId(record.id + suffix)),
    ):
        with pytest.raises(SessionNotFound):
            await attempt


# Leases.


async def test_only_one_of_many_gets_the_lease(sessions: Kept, caller: Caller) -> None:
    record = await new(sessions, caller)
    replies = await asyncio.gather(*(sessions.leases.take(caller, record.id, f"t{number}") for number in range(50)))
    assert [type(reply) for reply in replies].count(Leased) == 1
    assert all(29_000 < reply.milliseconds <= 30_000 for reply in replies if isinstance(reply, Busy))


async def test_a_lease_brings_what_was_said(sessions: Kept, caller: Caller) -> None:
    record = await new(sessions, caller)
    assert await sessions.leases.append(caller, await leased(sessions, caller, record.id), added("a", "b"))
    lease = await leased(sessions, caller, record.id)
    assert [each.kept["content"] for each in lease.messages] == ["a", "b"]
    assert lease.record.message_count == 2


async def test_a_lease_that_is_given_back_is_free(sessions: Kept, caller: Caller) -> None:
    record = await new(sessions, caller)
    for _ in range(3):
        sessions.leases.release(caller, record.id, (await leased(sessions, caller, record.id)).token)


async def test_a_lease_cannot_be_given_back_by_another(sessions: Kept, caller: Caller) -> None:
    record = await new(sessions, caller)
    await leased(sessions, caller, record.id, "mine")
    sessions.leases.release(caller, record.id, "theirs")
    assert isinstance(await sessions.leases.take(caller, record.id, "theirs"), Busy)


async def test_a_lease_of_a_dead_gateway_ends_by_itself(store: Store, caller: Caller) -> None:
    sessions = Kept(store, lease_seconds=1)
    record = await new(sessions, caller)
    await leased(sessions, caller, record.id, "dead")
    assert isinstance(await sessions.leases.take(caller, record.id, "next"), Busy)
    await asyncio.sleep(1.1)
    await leased(sessions, caller, record.id, "next")


async def test_a_lease_lasts_while_it_is_renewed(store: Store, caller: Caller) -> None:
    sessions = Kept(store, lease_seconds=2)
    record = await new(sessions, caller)
    lease = await leased(sessions, caller, record.id)
    for _ in range(4):
        await asyncio.sleep(0.75)
        sessions.leases.renew(caller, lease)
    assert isinstance(await sessions.leases.take(caller, record.id, "other"), Busy)


async def test_a_lost_lease_cannot_be_renewed(store: Store, caller: Caller) -> None:
    sessions = Kept(store, lease_seconds=0.05)
    record = await new(sessions, caller)
    lost = await leased(sessions, caller, record.id, "lost")
    await asyncio.sleep(0.1)
    sessions.leases.renew(caller, lost)
    current = await leased(sessions, caller, record.id, "current")
    sessions.leases.renew(caller, lost)
    await asyncio.sleep(0.1)
    assert current.token == "current"
    await leased(sessions, caller, record.id, "next")


# Appending.


async def test_append_counts_stores_in_order_and_frees_the_session(
    sessions: Kept, caller: Caller, direct: redis.Redis
) -> None:
    record = await new(sessions, caller)
    for turn in range(3):
        messages = added(f"q{turn}", f"a{turn} 早")
        assert await sessions.leases.append(caller, await leased(sessions, caller, record.id), messages)
    assert await texts(sessions, caller, record.id) == ["q0", "a0 早", "q1", "a1 早", "q2", "a2 早"]
    after = await sessions.store.read(caller, record.id)
    raw: Any = direct.lrange(keys.session_messages(caller.tenant, record.id), 0, -1)
    assert (after.message_count, after.bytes) == (6, sum(map(len, raw)))
    assert direct.exists(keys.session_lease(caller.tenant, record.id)) == 0


async def test_a_writer_whose_lease_ran_out_changes_nothing(store: Store, caller: Caller) -> None:
    sessions = Kept(store, lease_seconds=0.05)
    record = await new(sessions, caller)
    late = await leased(sessions, caller, record.id, "late")
    await asyncio.sleep(0.1)
    assert not await sessions.leases.append(caller, late, added("late"))
    assert (await sessions.store.read_whole(caller, record.id))[1] == []
    assert await sessions.store.read(caller, record.id) == record


async def test_a_writer_whose_lease_is_now_anothers_changes_nothing(store: Store, caller: Caller) -> None:
    sessions = Kept(store, lease_seconds=1.5)
    record = await new(sessions, caller)
    late = await leased(sessions, caller, record.id, "late")
    await asyncio.sleep(1.6)
    current = await leased(sessions, caller, record.id, "current")
    assert not await sessions.leases.append(caller, late, added("late"))
    assert await sessions.leases.append(caller, current, added("current"))
    assert await texts(sessions, caller, record.id) == ["current"]


async def test_a_lease_is_good_for_one_append(sessions: Kept, caller: Caller) -> None:
    record = await new(sessions, caller)
    lease = await leased(sessions, caller, record.id)
    assert await sessions.leases.append(caller, lease, added("a"))
    assert not await sessions.leases.append(caller, lease, added("b"))
    assert await texts(sessions, caller, record.id) == ["a"]


async def test_nothing_is_appended_to_a_session_that_was_deleted_meanwhile(
    sessions: Kept, caller: Caller, direct: redis.Redis
) -> None:
    record = await new(sessions, caller)
    lease = await leased(sessions, caller, record.id)
    await sessions.store.delete(caller, record.id)
    assert not await sessions.leases.append(caller, lease, added("a"))
    assert direct.keys(f"gg:{{{caller.tenant}}}:session:*") == []


async def test_of_many_writers_at_once_every_turn_is_whole(sessions: Kept, caller: Caller) -> None:
    """Question and answer always stand together, whoever comes first."""
    record = await new(sessions, caller)

    async def write(number: int) -> bool:
        for _ in range(200):
            lease = await sessions.leases.take(caller, record.id, f"t{number}")
            if isinstance(lease, Leased):
                assert len(lease.messages) % 2 == 0
                return await sessions.leases.append(caller, lease, added(f"q{number}", f"a{number}"))
            await asyncio.sleep(0.002)
        return False

    assert all(await asyncio.gather(*(write(number) for number in range(20))))
    found = await texts(sessions, caller, record.id)
    assert len(found) == 40
    assert all(question[1:] == answer[1:] for question, answer in zip(found[::2], found[1::2], strict=True))


def test_a_message_has_the_shape_that_is_shown() -> None:
    shown = message(new_message({"role": "assistant", "content": "Hi"}, 5, "stop", tokens=3), 0).as_json()
    assert shown.pop("id").startswith("msg_")
    assert shown == {
        "object": "session.message",
        "role": "assistant",
        "content": "Hi",
        "created_at": 5,
        "finish_reason": "stop",
    }


# Time to live.


async def test_all_keys_of_a_session_end_after_its_time_to_live(
    sessions: Kept, caller: Caller, direct: redis.Redis
) -> None:
    record = await new(sessions, caller, ttl_seconds=100)
    assert 0 < int(direct.ttl(keys.session(caller.tenant, record.id))) <= 100
    await sessions.leases.append(caller, await leased(sessions, caller, record.id), added("a"))
    for name in (keys.session, keys.session_messages):
        assert 98 <= int(direct.ttl(name(caller.tenant, record.id))) <= 100


async def test_a_session_in_use_does_not_end(sessions: Kept, caller: Caller, direct: redis.Redis) -> None:
    """Both a turn's beginning and its end start the time anew."""
    record = await new(sessions, caller, ttl_seconds=100)
    names = [name(caller.tenant, record.id) for name in (keys.session, keys.session_messages)]
    await sessions.leases.append(caller, await leased(sessions, caller, record.id), added("a"))
    for name in names:
        direct.expire(name, 5)
    lease = await leased(sessions, caller, record.id)
    assert all(int(direct.ttl(name)) > 90 for name in names)
    for name in names:
        direct.expire(name, 5)
    assert await sessions.leases.append(caller, lease, added("b"))
    assert all(int(direct.ttl(name)) > 90 for name in names)


async def test_a_long_turn_keeps_a_short_lived_session_alive(
    sessions: Kept, caller: Caller, direct: redis.Redis
) -> None:
    record = await new(sessions, caller, ttl_seconds=100)
    lease = await leased(sessions, caller, record.id)
    direct.expire(keys.session(caller.tenant, record.id), 5)
    sessions.leases.renew(caller, lease)
    await sessions.store.read(caller, record.id)
    assert int(direct.ttl(keys.session(caller.tenant, record.id))) > 90


@pytest.mark.parametrize("end", ["append", "leave"])
async def test_a_users_list_of_sessions_ends_no_sooner_than_a_session_in_it(
    sessions: Kept, caller: Caller, direct: redis.Redis, end: str
) -> None:
    """Each use gives the session its time anew, and the list with it."""
    index = keys.sessions_of(caller.tenant, caller.user)

    def lives() -> bool:
        return int(direct.ttl(index)) > 90

    record = await new(sessions, caller, ttl_seconds=100)
    lease = await leased(sessions, caller, record.id)
    direct.expire(index, 5)
    sessions.leases.renew(caller, lease)
    await sessions.store.read(caller, record.id)
    assert lives()
    direct.expire(index, 5)
    if end == "append":
        assert await sessions.leases.append(caller, lease, added("a"))
    else:
        sessions.leases.leave(caller, replace(lease, made=True), told=True)
        await sessions.store.read(caller, record.id)
    assert lives()
    direct.expire(index, 5)
    await leased(sessions, caller, record.id)
    assert lives()


async def test_a_session_that_is_in_no_list_any_more_comes_back_into_it_by_its_use(
    sessions: Kept, caller: Caller, direct: redis.Redis
) -> None:
    first, second = await new(sessions, caller), await new(sessions, caller)
    direct.hset(keys.session(caller.tenant, second.id), "created_at", first.created_at + 1)
    direct.delete(keys.sessions_of(caller.tenant, caller.user))
    for record in (second, first, second):
        lease = await leased(sessions, caller, record.id)
        sessions.leases.release(caller, record.id, lease.token)
    records, _ = await sessions.store.page(caller, 10)
    assert [record.id for record in records] == [second.id, first.id]
    await sessions.store.delete(caller, first.id)
    assert [record.id for record in (await sessions.store.page(caller, 10))[0]] == [second.id]


async def test_a_session_whose_time_is_over_is_not_found(sessions: Kept, caller: Caller) -> None:
    record = await new(sessions, caller, ttl_seconds=1)
    await asyncio.sleep(1.1)
    with pytest.raises(SessionNotFound):
        await sessions.store.read(caller, record.id)


# Lists and caps.


async def test_a_page_has_the_newest_first_and_goes_on_after_an_id(
    sessions: Kept, caller: Caller, direct: redis.Redis
) -> None:
    ids = [(await new(sessions, caller)).id for _ in range(5)]
    for used, session_id in enumerate(ids):
        direct.zadd(keys.sessions_of(caller.tenant, caller.user), {session_id: used})
    found: list[str] = []
    after: SessionId | None = None
    more = True
    while more:
        page, more = await sessions.store.page(caller, 2, after)
        found += [record.id for record in page]
        after = page[-1].id
    assert found == ids[::-1]


async def test_the_last_page_says_that_it_is_the_last(sessions: Kept, caller: Caller) -> None:
    for _ in range(2):
        await new(sessions, caller)
    assert (await sessions.store.page(caller, 2, None))[1] is False
    assert (await sessions.store.page(caller, 1, None))[1] is True


async def test_using_a_session_does_not_move_it_so_pages_stay_where_they_are(sessions: Kept, caller: Caller) -> None:
    first = await new(sessions, caller)
    await asyncio.sleep(0.002)
    second = await new(sessions, caller)
    await sessions.leases.append(caller, await leased(sessions, caller, first.id), added("a"))
    assert [record.id for record in (await sessions.store.page(caller, 5))[0]] == [second.id, first.id]


async def test_a_page_passes_over_many_that_have_expired(sessions: Kept, caller: Caller, direct: redis.Redis) -> None:
    oldest = await new(sessions, caller)
    for _ in range(9):
        direct.delete(keys.session(caller.tenant, (await new(sessions, caller)).id))
    direct.zadd(keys.sessions_of(caller.tenant, caller.user), {oldest.id: 1})
    records, more = await sessions.store.page(caller, 2)
    assert ([record.id for record in records], more) == ([oldest.id], False)
    assert direct.zcard(keys.sessions_of(caller.tenant, caller.user)) == 1


async def test_a_list_leaves_out_what_has_expired_and_forgets_it(
    sessions: Kept, caller: Caller, direct: redis.Redis, store: Store
) -> None:
    gone, there = await new(sessions, caller), await new(sessions, caller)
    direct.delete(keys.session(caller.tenant, gone.id))
    records, more = await sessions.store.page(caller, 10, None)
    assert ([record.id for record in records], more) == ([there.id], False)
    await store.ping()
    assert direct.zcard(keys.sessions_of(caller.tenant, caller.user)) == 1


async def test_a_page_after_something_unknown_names_the_parameter(sessions: Kept, caller: Caller) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await sessions.store.page(caller, 2, SessionId("sess_" + "0" * 32))
    assert caught.value.param == "after"


async def test_a_user_may_have_only_so_many_sessions_and_others_are_not_counted(store: Store, caller: Caller) -> None:
    sessions = Kept(store, max_per_user=2)
    for _ in range(2):
        await new(sessions, caller)
    with pytest.raises(InvalidRequest) as caught:
        await new(sessions, caller)
    assert caught.value.envelope()["error"]["code"] == "too_many_sessions"
    for other in others_of(caller):
        await new(sessions, other)


async def test_deleted_and_expired_sessions_are_not_counted(store: Store, caller: Caller, direct: redis.Redis) -> None:
    sessions = Kept(store, max_per_user=2)
    first, second = await new(sessions, caller), await new(sessions, caller)
    await sessions.store.delete(caller, first.id)
    await new(sessions, caller)
    direct.delete(keys.session(caller.tenant, second.id))
    await new(sessions, caller)


async def test_deleting_leaves_no_key_behind(sessions: Kept, caller: Caller, direct: redis.Redis) -> None:
    record = await new(sessions, caller)
    await sessions.leases.append(caller, await leased(sessions, caller, record.id), added("a"))
    await leased(sessions, caller, record.id)
    await sessions.store.delete(caller, record.id)
    assert direct.keys(f"gg:{{{caller.tenant}}}:*") == []


async def test_without_redis_every_use_says_so(private_redis: RedisServer, store_at: StoreAt, caller: Caller) -> None:
    sessions = Kept(store_at(private_redis, breaker_seconds=60))
    record = await new(sessions, caller)
    lease = await leased(sessions, caller, record.id)
    private_redis.kill()
    for attempt in (
        sessions.store.read(caller, record.id),
        sessions.store.page(caller, 1, None),
        sessions.leases.take(caller, record.id, "t"),
        sessions.leases.append(caller, lease, added("a")),
        new(sessions, caller),
    ):
        with pytest.raises(StoreDown):
            await attempt
    sessions.leases.release(caller, record.id, lease.token)


async def test_sessions_survive_a_restart_of_redis(
    private_redis: RedisServer, store_at: StoreAt, caller: Caller
) -> None:
    sessions = Kept(store_at(private_redis, breaker_seconds=0.01))
    record = await new(sessions, caller)
    await sessions.leases.append(caller, await leased(sessions, caller, record.id), added("a"))
    private_redis.kill()
    private_redis.start()
    await asyncio.sleep(0.05)
    for _ in range(5):
        try:
            await sessions.store.read(caller, record.id)
        except StoreDown:  # The connection that the old server had closed.
            await asyncio.sleep(0.05)
    assert await texts(sessions, caller, record.id) == ["a"]
