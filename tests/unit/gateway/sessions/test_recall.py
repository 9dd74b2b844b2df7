"""Recall: one request holds a session, and lets it go however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import Any

import pytest

from gateway.domain import NEW_SESSION, Asked, Caller, Endpoint, History, SessionId
from gateway.errors import InvalidRequest, SessionBusy, SessionNotFound, StoreDown
from gateway.sessions import NewSession, SessionContent, SessionRecord
from gateway.sessions.leases import Leased
from gateway.store import Cipher, Store, keys
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt
from tests.unit.gateway.sessions.kept import Kept, added, texts

HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}


def asked(session_id: str | None, *messages: dict[str, Any], endpoint: Endpoint = Endpoint.CHAT) -> Asked:
    """Return what a client asks for in a session."""
    body = {"model": "m", "messages": messages or (HI,)}
    return Asked(endpoint, "m", body, stream=False, wants_usage=False, session_id=session_id)


class Place(Kept):
    """What is under test, with a few questions to it."""

    async def session(self, caller: Caller, system: str = "") -> SessionRecord:
        """Make a session."""
        return await self.store.create(caller, NewSession(SessionContent(system)))

    async def is_free(self, caller: Caller, session_id: SessionId) -> bool:
        """Say whether nobody holds the session; leaves it as it is."""
        lease = await self.leases.take(caller, session_id, "probe")
        if isinstance(lease, Leased):
            self.leases.release(caller, session_id, "probe")
        return isinstance(lease, Leased)

    async def texts(self, caller: Caller, session_id: SessionId) -> list[str]:
        """Return what was said."""
        return await texts(self, caller, session_id)


@pytest.fixture
def place(store: Store) -> Place:
    """A room that does not wait for a busy session."""
    return Place(store, busy_wait_seconds=0)


async def test_without_a_session_nothing_is_held_and_nothing_is_kept(place: Place, caller: Caller) -> None:
    with await place.room.recall(caller, asked(None)) as recall:
        assert recall.history == History()
        assert recall.session_id is None
        assert not recall.open
        await recall.append([HI], HELLO, "stop")
    assert (await place.store.page(caller, 1))[0] == []


async def test_a_text_request_takes_no_part_in_sessions(place: Place, caller: Caller) -> None:
    with await place.room.recall(caller, asked("sess_none", endpoint=Endpoint.COMPLETIONS)) as recall:
        assert recall.history == History()


async def test_history_is_the_system_prompt_and_then_what_was_said(place: Place, caller: Caller) -> None:
    record = await place.session(caller, "Be brief.")
    with await place.room.recall(caller, asked(record.id)) as recall:
        assert recall.history == History(record.id, ({"role": "system", "content": "Be brief."},))
        await recall.append([HI], HELLO, "stop")
    with await place.room.recall(caller, asked(record.id)) as recall:
        assert recall.session_id == record.id
        assert recall.history.messages == (
            {"role": "system", "content": "Be brief."},
            HI,
            {"role": "assistant", "content": "Hello"},
        )


async def test_a_session_without_a_system_prompt_begins_with_what_was_said(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:
        assert recall.history.messages == ()


async def test_question_and_answer_are_kept_with_the_reason_of_the_end(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:
        await recall.append([HI], HELLO, "length")
        assert not recall.open
    kept = [each.kept for each in (await place.store.read_whole(caller, record.id))[1]]
    assert [(item["role"], item["content"], item["finish_reason"]) for item in kept] == [
        ("user", "Hi", None),
        ("assistant", "Hello", "length"),
    ]
    assert await place.is_free(caller, record.id)


async def test_a_question_of_parts_is_kept_and_recalled_as_it_came(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    question = {"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}
    with await place.room.recall(caller, asked(record.id, question)) as recall:
        await recall.append([question], HELLO, "stop")
    with await place.room.recall(caller, asked(record.id)) as recall:
        assert recall.history.messages[0] == question


async def test_a_system_prompt_that_is_changed_during_an_answer_is_not_taken_for_counted(
    place: Place, caller: Caller
) -> None:
    record = await place.session(caller, "Be brief.")
    with await place.room.recall(caller, asked(record.id)) as recall:
        await place.store.update(caller, record.id, {"system": "Be long. " * 1000})
        await recall.append([HI], HELLO, "stop", 12)
    assert (await place.store.read(caller, record.id)).context_tokens == 0
    with await place.room.recall(caller, asked(record.id)) as recall:
        assert recall.history.counted_tokens == 0
        await place.store.update(caller, record.id, {"title": "New"})
        await recall.append([HI], HELLO, "stop", 3000)
    with await place.room.recall(caller, asked(record.id)) as recall:
        assert recall.history.counted_tokens == 3000


async def test_an_answer_is_appended_once(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:
        await recall.append([HI], HELLO, "stop")
        await recall.append([HI], HELLO, "stop")
    assert await place.texts(caller, record.id) == ["Hi", "Hello"]


@pytest.mark.parametrize("error", [None, RuntimeError(), asyncio.CancelledError()])
async def test_the_session_is_free_again_however_the_request_ends_and_nothing_is_kept(
    place: Place, caller: Caller, error: BaseException | None
) -> None:
    record = await place.session(caller)
    try:
        with await place.room.recall(caller, asked(record.id)):
            assert not await place.is_free(caller, record.id)
            if error is not None:
                raise error
    except (RuntimeError, asyncio.CancelledError):
        pass
    assert await place.is_free(caller, record.id)
    assert await place.texts(caller, record.id) == []


async def test_another_users_session_is_not_found(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    for other in (Caller(caller.tenant, "bob"), Caller("elsewhere", caller.user)):
        with pytest.raises(SessionNotFound), await place.room.recall(other, asked(record.id)):
            pass


async def test_a_second_message_is_refused_while_the_first_is_answered(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)):
        with pytest.raises(SessionBusy) as caught, await place.room.recall(caller, asked(record.id)):
            pass
        assert caught.value.retry_after_ms
    with await place.room.recall(caller, asked(record.id)):
        pass


async def test_a_second_message_waits_for_the_first_to_end(store: Store, caller: Caller) -> None:
    place = Place(store, busy_wait_seconds=10)
    record = await place.session(caller)

    async def turn(text: str) -> None:
        with await place.room.recall(caller, asked(record.id)) as recall:
            await asyncio.sleep(0.05)
            await recall.append([{"role": "user", "content": text}], {"role": "assistant", "content": text}, "stop")

    await asyncio.gather(turn("a"), turn("b"), turn("c"))
    texts = await place.texts(caller, record.id)
    assert sorted(texts) == ["a", "a", "b", "b", "c", "c"]
    assert texts[::2] == texts[1::2]


async def test_the_wait_for_a_busy_session_ends(store: Store, caller: Caller) -> None:
    place = Place(store, busy_wait_seconds=0.2)
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)):
        started = time.monotonic()
        with pytest.raises(SessionBusy), await place.room.recall(caller, asked(record.id)):
            pass
        assert 0.2 <= time.monotonic() - started < 1.5


@pytest.mark.parametrize("turns", range(6))
async def test_a_client_that_leaves_while_the_lease_is_taken_leaves_the_session_free(
    place: Place, caller: Caller, turns: int
) -> None:
    """Cancelled in each turn of the loop that taking a lease lasts."""
    record = await place.session(caller)

    async def enter() -> None:
        with await place.room.recall(caller, asked(record.id)):
            await asyncio.sleep(60)

    task = asyncio.create_task(enter())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await place.is_free(caller, record.id)


async def test_a_client_that_leaves_while_it_waits_takes_nothing_from_who_holds_the_session(
    store: Store, caller: Caller
) -> None:
    place = Place(store, busy_wait_seconds=10)
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:

        async def wait() -> None:
            with await place.room.recall(caller, asked(record.id)):
                pass

        task = asyncio.create_task(wait())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await recall.append([HI], HELLO, "stop")
    assert await place.texts(caller, record.id) == ["Hi", "Hello"]


async def test_a_held_session_stays_held_for_longer_than_a_lease(store: Store, caller: Caller) -> None:
    place = Place(store, busy_wait_seconds=0, lease_seconds=2)
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:
        await asyncio.sleep(4.5)
        assert not await place.is_free(caller, record.id)
        await recall.append([HI], HELLO, "stop")


async def test_a_request_that_lost_its_session_is_told_and_writes_nothing(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:
        await place.store.delete(caller, record.id)
        with pytest.raises(StoreDown, match="nothing was saved"):
            await recall.append([HI], HELLO, "stop")
        assert not recall.open
    with pytest.raises(SessionNotFound):
        await place.store.read(caller, record.id)


async def test_an_append_without_redis_is_told(private_redis: RedisServer, store_at: StoreAt, caller: Caller) -> None:
    place = Place(store_at(private_redis, breaker_seconds=60))
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:
        private_redis.kill()
        with pytest.raises(StoreDown):
            await recall.append([HI], HELLO, "stop")


async def test_a_session_asked_for_without_redis_is_unavailable_and_without_a_session_nothing_is(
    private_redis: RedisServer, store_at: StoreAt, caller: Caller
) -> None:
    place = Place(store_at(private_redis, breaker_seconds=60))
    private_redis.kill()
    with pytest.raises(StoreDown), await place.room.recall(caller, asked("sess_" + "0" * 32)):
        pass
    with await place.room.recall(caller, asked(None)):
        pass


async def test_a_lease_that_cannot_be_renewed_for_a_while_is_tried_again(
    private_redis: RedisServer, store_at: StoreAt, caller: Caller
) -> None:
    place = Place(
        store_at(private_redis, breaker_seconds=0.01, timeout_seconds=1), lease_seconds=4.5, busy_wait_seconds=0
    )
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)):
        await asyncio.sleep(0.1)
        private_redis.kill()
        await asyncio.sleep(1.6)  # One renewal is lost.
        private_redis.start()
        await asyncio.sleep(3.3)
        assert not await place.is_free(caller, record.id)


async def _lease(place: Place, caller: Caller, session_id: SessionId) -> Leased:
    lease = await place.leases.take(caller, session_id, "t")
    assert isinstance(lease, Leased)
    return lease


# Caps.


async def test_a_session_is_full_when_a_turn_would_not_fit(store: Store, caller: Caller) -> None:
    place = Place(store, max_messages=4, busy_wait_seconds=0)
    record = await place.session(caller)
    for _ in range(2):
        with await place.room.recall(caller, asked(record.id)) as recall:
            await recall.append([HI], HELLO, "stop")
    with pytest.raises(InvalidRequest) as caught, await place.room.recall(caller, asked(record.id)):
        pass
    assert caught.value.envelope()["error"]["code"] == "session_full"
    assert await place.is_free(caller, record.id)


async def test_a_request_alone_can_be_too_much_for_a_session(store: Store, caller: Caller) -> None:
    place = Place(store, max_messages=4)
    record = await place.session(caller)
    with pytest.raises(InvalidRequest), await place.room.recall(caller, asked(record.id, HI, HI, HI, HI)):
        pass


async def test_the_bytes_of_a_session_are_bounded(store: Store, caller: Caller) -> None:
    place = Place(store, max_bytes=2048, busy_wait_seconds=0)
    record = await place.session(caller)
    lease = await _lease(place, caller, record.id)
    await place.leases.append(caller, lease, added("早" * 600))
    with pytest.raises(InvalidRequest):
        await place.room.recall(caller, asked(record.id, {"role": "user", "content": "早" * 50}))
    assert await place.is_free(caller, record.id)


def nested(levels: int) -> dict[str, Any]:
    """Return a message with so deep a content."""
    content: list[Any] = []
    for _ in range(levels):
        content = [content]
    return {"role": "user", "content": content}


async def test_what_is_nested_too_deeply_to_be_written_is_refused_and_leaves_the_session_free(
    place: Place, caller: Caller
) -> None:
    record = await place.session(caller)
    with pytest.raises(InvalidRequest) as caught:
        await place.room.recall(caller, asked(record.id, nested(300)))
    assert (caught.value.param, caught.value.code) == ("messages", "invalid_json")
    assert await place.is_free(caller, record.id)


async def test_a_fault_of_ours_leaves_the_session_free(
    place: Place, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await place.session(caller)

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("gateway.sessions.room.place_of", fail)
    monkeypatch.setattr("gateway.sessions.room.SessionRoom._check_room", fail)
    for attempt in (place.room.recall(caller, asked(record.id)), place.room.forget(caller, record.id, "msg_1")):
        with pytest.raises(RuntimeError):
            await attempt
        assert await place.is_free(caller, record.id)


# Waiting.


async def test_those_who_wait_are_served_in_their_order_and_without_polling(store: Store, caller: Caller) -> None:
    place = Place(store, busy_wait_seconds=10)
    record = await place.session(caller)
    order: list[int] = []

    async def turn(number: int) -> None:
        with await place.room.recall(caller, asked(record.id)) as recall:
            order.append(number)
            await recall.append([HI], HELLO, "stop")

    with await place.room.recall(caller, asked(record.id)):
        waiting = []
        for number in range(20):
            waiting.append(asyncio.create_task(turn(number)))
            # Each tries once before it stands in line; on a busy machine several would be on their way at once.
            while place.room._line.waiting <= number:
                await asyncio.sleep(0.001)
        started = time.monotonic()
    await asyncio.gather(*waiting)
    assert order == list(range(20))
    assert time.monotonic() - started < 5
    assert len(await place.texts(caller, record.id)) == 40


async def test_a_session_that_another_process_lets_go_is_found_free(store: Store, caller: Caller) -> None:
    here, elsewhere = Place(store, busy_wait_seconds=10), Place(store, busy_wait_seconds=10)
    record = await here.session(caller)
    with await elsewhere.room.recall(caller, asked(record.id)):
        waiting = asyncio.create_task(here.room.recall(caller, asked(record.id)))
        await asyncio.sleep(0.1)
        assert not waiting.done()
    async with asyncio.timeout(5):
        (await waiting).release()


async def test_only_so_many_of_a_tenant_may_wait_and_others_are_not_counted(store: Store, caller: Caller) -> None:
    place = Place(store, busy_wait_seconds=10, max_waiting_per_tenant=2)
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)):
        waiting = [asyncio.create_task(place.room.recall(caller, asked(record.id))) for _ in range(2)]
        async with asyncio.timeout(5):
            while place.room._line.waiting < 2:
                await asyncio.sleep(0.01)
        with pytest.raises(SessionBusy) as caught:
            await place.room.recall(caller, asked(record.id))
        assert caught.value.retry_after_ms
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert place.room._line.waiting == 0
    assert await place.is_free(caller, record.id)


# Sessions made by a message, and answers that are not whole.


async def test_a_message_may_make_its_session(place: Place, caller: Caller) -> None:
    with await place.room.recall(caller, asked(NEW_SESSION)) as recall:
        assert recall.session_id is not None
        assert not await place.is_free(caller, recall.session_id)
        await recall.append([HI], HELLO, "stop")
    assert await place.texts(caller, recall.session_id) == ["Hi", "Hello"]
    assert (await place.store.read(caller, recall.session_id)).model == "m"


async def test_a_session_that_was_made_for_a_message_is_gone_without_it(place: Place, caller: Caller) -> None:
    with await place.room.recall(caller, asked(NEW_SESSION)) as recall:
        pass
    assert recall.session_id is not None
    with pytest.raises(SessionNotFound):
        await place.store.read(caller, recall.session_id)
    assert await place.store.page(caller, 10) == ([], False)


async def test_one_that_a_client_was_told_of_stays_for_its_whole_time(store: Store, caller: Caller) -> None:
    place = Place(store, busy_wait_seconds=0, lease_seconds=1.0)
    with await place.room.recall(caller, asked(NEW_SESSION), lambda: True) as recall:
        pass
    assert recall.session_id is not None
    await asyncio.sleep(1.5)
    assert await place.is_free(caller, recall.session_id)


async def test_one_whose_gateway_is_gone_ends_with_its_lease(store: Store, caller: Caller) -> None:
    place = Place(store, busy_wait_seconds=0, lease_seconds=0.3)
    held = await place.room.recall(caller, asked(NEW_SESSION))
    await asyncio.sleep(0.5)
    assert await place.store.page(caller, 10) == ([], False)
    assert held.open


async def test_what_came_of_an_answer_is_kept_without_waiting_and_marked(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:
        recall.keep_partial([HI], {"role": "assistant", "content": "Hel"}, "cancelled")
    _, kept = await place.store.read_whole(caller, record.id)
    assert [(each.kept["content"], each.kept["finish_reason"]) for each in kept] == [("Hi", None), ("Hel", "cancelled")]
    assert await place.is_free(caller, record.id)


async def test_a_new_answer_takes_the_place_of_the_last_when_it_is_appended(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    for text in ("one", "two"):
        with await place.room.recall(caller, asked(record.id)) as recall:
            await recall.append([{"role": "user", "content": text}], {"role": "assistant", "content": text}, "stop")
    before = (await place.store.read_whole(caller, record.id))[1]
    again = replace(asked(record.id), regenerate=True, body={"messages": ()})
    with await place.room.recall(caller, again) as recall:
        assert [each["content"] for each in recall.history.messages] == ["one", "one", "two"]
    assert (await place.store.read_whole(caller, record.id))[1] == before
    with await place.room.recall(caller, again) as recall:
        await recall.append([], {"role": "assistant", "content": "better"}, "stop")
    record, after = await place.store.read_whole(caller, record.id)
    assert after[:3] == before[:3]
    assert [each.kept["content"] for each in after[3:]] == ["better"]
    assert (record.message_count, record.bytes) == (4, sum(each.bytes for each in after))


async def test_without_a_question_there_is_nothing_to_answer_again(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    with pytest.raises(InvalidRequest) as caught:
        await place.room.recall(caller, replace(asked(record.id), regenerate=True, body={"messages": ()}))
    assert caught.value.envelope()["error"]["code"] == "nothing_to_regenerate"
    assert await place.is_free(caller, record.id)


# Forgetting.


async def test_a_message_and_all_after_it_are_forgotten_or_all(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    await place.leases.append(caller, await _lease(place, caller, record.id), added("a", "b", "c", "d"))
    _, kept = await place.store.read_whole(caller, record.id)
    assert await place.room.forget(caller, record.id, kept[2].id) == 2
    record, left = await place.store.read_whole(caller, record.id)
    assert left == kept[:2]
    assert (record.message_count, record.bytes) == (2, sum(each.bytes for each in left))
    with pytest.raises(InvalidRequest):
        await place.room.forget(caller, record.id, kept[2].id)
    assert await place.room.forget(caller, record.id, None) == 2
    record, left = await place.store.read_whole(caller, record.id)
    assert (left, record.message_count, record.bytes) == ([], 0, 0)
    assert await place.is_free(caller, record.id)


async def test_a_lease_that_was_granted_too_late_is_given_back(
    store_at: StoreAt, private_redis: RedisServer, caller: Caller
) -> None:
    kept = Kept(store_at(private_redis, timeout_seconds=1, breaker_seconds=0.1), busy_wait_seconds=0.1)
    session_id = (await kept.store.create(caller, NewSession())).id
    private_redis.stop()
    with pytest.raises(StoreDown):
        await kept.room.recall(caller, asked(session_id, HI))
    private_redis.cont()
    async with asyncio.timeout(10):
        while True:
            await asyncio.sleep(0.2)
            with contextlib.suppress(StoreDown, SessionBusy), await kept.room.recall(caller, asked(session_id, HI)):
                break


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("new", [True, False])
async def test_a_session_whose_append_was_lost_with_redis_is_free_soon_after(
    store_at: StoreAt, private_redis: RedisServer, caller: Caller, frozen: bool, told: bool, new: bool
) -> None:
    """One that was made for the request is gone where nothing came of it, unless its id was told."""
    store = store_at(private_redis, timeout_seconds=1, breaker_seconds=0.1)
    place = Place(store, busy_wait_seconds=0)
    wanted = NEW_SESSION if new else (await place.session(caller)).id
    with await place.room.recall(caller, asked(wanted), lambda: told) as recall:
        session_id = recall.session_id
        assert session_id is not None
        (private_redis.stop if frozen else private_redis.kill)()
        with pytest.raises(StoreDown):
            await recall.append([HI], HELLO, "stop")
    (private_redis.cont if frozen else private_redis.start)()
    async with asyncio.timeout(12):
        while not await becomes_free(place, caller, session_id, may_be_gone=new and not told):
            await asyncio.sleep(0.2)
    if not new or told:
        assert await store.call("TTL", keys.session(caller.tenant, session_id)) > 60
        assert await place.texts(caller, session_id) in ([], ["Hi", "Hello"])


async def becomes_free(place: Place, caller: Caller, session_id: SessionId, *, may_be_gone: bool) -> bool:
    """Say whether nobody holds the session, or whether it is gone; not while Redis is away."""
    try:
        return await place.is_free(caller, session_id)
    except SessionNotFound:
        return may_be_gone
    except StoreDown:
        return False


async def test_a_session_that_cannot_be_read_is_not_held(store: Store, caller: Caller) -> None:
    sealed, blind = (Kept(store, Cipher((key * 32,))) for key in (b"a", b"b"))
    session_id = (await sealed.store.create(caller, NewSession(SessionContent(title="secret")))).id
    with pytest.raises(StoreDown):
        await blind.room.recall(caller, asked(session_id, HI))
    with await sealed.room.recall(caller, asked(session_id, HI)) as recall:
        assert recall.open
