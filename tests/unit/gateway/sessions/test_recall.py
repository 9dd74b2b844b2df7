"""Recall: one request holds a session, and lets it go however it ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from config import SessionsSettings
from gateway.domain import Asked, Caller, Endpoint, History, SessionId
from gateway.errors import InvalidRequest, SessionBusy, SessionNotFound, StoreDown
from gateway.sessions import Recall, SessionRecord, SessionRoom, SessionStore
from gateway.sessions.records import stored_message
from gateway.sessions.store import Leased
from gateway.store import Store
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.conftest import StoreAt

HI = {"role": "user", "content": "Hi"}


def asked(session_id: str | None, *messages: dict[str, Any], endpoint: Endpoint = Endpoint.CHAT) -> Asked:
    """Return what a client asks for in a session."""
    body = {"model": "m", "messages": messages or (HI,)}
    return Asked(endpoint, "m", body, stream=False, wants_usage=False, session_id=session_id)


class Place:
    """A room on a store, with settings of the test's own."""

    def __init__(self, store: Store, **settings: Any) -> None:
        self.settings = SessionsSettings(**settings)
        self.sessions = SessionStore(store, self.settings)
        self.room = SessionRoom(self.sessions, self.settings)

    async def session(self, caller: Caller, system: str = "") -> SessionRecord:
        """Make a session."""
        return await self.sessions.create(caller, system, "", "", None)

    async def is_free(self, caller: Caller, session_id: SessionId) -> bool:
        """Say whether nobody holds the session; leaves it as it is."""
        lease = await self.sessions.lease(caller, session_id, "probe")
        if isinstance(lease, Leased):
            self.sessions.release(caller, session_id, "probe")
        return isinstance(lease, Leased)

    async def texts(self, caller: Caller, session_id: SessionId) -> list[str]:
        """Return what was said."""
        return [message["content"] for message in await self.sessions.messages(caller, session_id)]


@pytest.fixture
def place(store: Store) -> Place:
    """A room that does not wait for a busy session."""
    return Place(store, busy_wait_seconds=0)


async def test_without_a_session_nothing_is_held_and_nothing_is_kept(place: Place, caller: Caller) -> None:
    with await place.room.recall(caller, asked(None)) as recall:
        assert recall.history == History()
        assert recall.session_id is None
        assert not recall.open
        await recall.append([HI], "Hello", "stop")
    assert (await place.sessions.page(caller, 1, None))[0] == []


async def test_a_text_request_takes_no_part_in_sessions(place: Place, caller: Caller) -> None:
    with await place.room.recall(caller, asked("sess_none", endpoint=Endpoint.COMPLETIONS)) as recall:
        assert recall.history == History()


async def test_history_is_the_system_prompt_and_then_what_was_said(place: Place, caller: Caller) -> None:
    record = await place.session(caller, "Be brief.")
    with await place.room.recall(caller, asked(record.id)) as recall:
        assert recall.history == History(record.id, ({"role": "system", "content": "Be brief."},))
        await recall.append([HI], "Hello", "stop")
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
        await recall.append([HI], "Hello", "length")
        assert not recall.open
    kept = await place.sessions.messages(caller, record.id)
    assert [(item["role"], item["content"], item["finish_reason"]) for item in kept] == [
        ("user", "Hi", None),
        ("assistant", "Hello", "length"),
    ]
    assert await place.is_free(caller, record.id)


async def test_a_question_of_parts_is_kept_and_recalled_as_it_came(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    question = {"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}
    with await place.room.recall(caller, asked(record.id, question)) as recall:
        await recall.append([question], "Hello", "stop")
    with await place.room.recall(caller, asked(record.id)) as recall:
        assert recall.history.messages[0] == question


async def test_an_answer_is_appended_once(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:
        await recall.append([HI], "Hello", "stop")
        await recall.append([HI], "Hello", "stop")
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
            await recall.append([{"role": "user", "content": text}], text, "stop")

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
        await recall.append([HI], "Hello", "stop")
    assert await place.texts(caller, record.id) == ["Hi", "Hello"]


async def test_a_held_session_stays_held_for_longer_than_a_lease(store: Store, caller: Caller) -> None:
    place = Place(store, busy_wait_seconds=0, lease_seconds=0.5)
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:
        await asyncio.sleep(1.2)
        assert not await place.is_free(caller, record.id)
        await recall.append([HI], "Hello", "stop")


async def test_a_request_that_lost_its_session_is_told_and_writes_nothing(place: Place, caller: Caller) -> None:
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:
        await place.sessions.delete(caller, record.id)
        with pytest.raises(StoreDown, match="not saved"):
            await recall.append([HI], "Hello", "stop")
        assert not recall.open
    with pytest.raises(SessionNotFound):
        await place.sessions.read(caller, record.id)


async def test_an_append_without_redis_is_told(private_redis: RedisServer, store_at: StoreAt, caller: Caller) -> None:
    place = Place(store_at(private_redis, breaker_seconds=60))
    record = await place.session(caller)
    with await place.room.recall(caller, asked(record.id)) as recall:
        private_redis.kill()
        with pytest.raises(StoreDown):
            await recall.append([HI], "Hello", "stop")


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
    store = store_at(private_redis, breaker_seconds=0.01, timeout_seconds=1)
    place = Place(store, lease_seconds=3, busy_wait_seconds=0)
    record = await place.session(caller)
    recall = Recall(place.sessions, caller, await _lease(place, caller, record.id))
    renewing = asyncio.create_task(recall._keep_renewed(0.02))
    private_redis.kill()
    await asyncio.sleep(0.1)
    private_redis.start()
    for _ in range(250):
        await asyncio.sleep(0.02)
        if store.healthy:
            break
    assert store.healthy
    assert not renewing.done()
    renewing.cancel()


async def _lease(place: Place, caller: Caller, session_id: SessionId) -> Leased:
    lease = await place.sessions.lease(caller, session_id, "t")
    assert isinstance(lease, Leased)
    return lease


# Caps.


async def test_a_session_is_full_when_a_turn_would_not_fit(store: Store, caller: Caller) -> None:
    place = Place(store, max_messages=4, busy_wait_seconds=0)
    record = await place.session(caller)
    for _ in range(2):
        with await place.room.recall(caller, asked(record.id)) as recall:
            await recall.append([HI], "Hello", "stop")
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
    await place.sessions.append(caller, lease, [stored_message("user", "早" * 600, 1, None)])
    with pytest.raises(InvalidRequest):
        await place.room.recall(caller, asked(record.id, {"role": "user", "content": "早" * 50}))
    assert await place.is_free(caller, record.id)
