"""Sessions on a real Redis, driven at random, do what a list of lists would do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pydantic import SecretStr

from config import RedisSettings
from gateway.domain import NEW_SESSION, Asked, Caller, Endpoint, JsonObject, SessionId
from gateway.errors import InvalidRequest, SessionNotFound
from gateway.sessions import NewSession, SessionContent
from gateway.store import Cipher, open_store
from gateway.telemetry.metrics import Metrics
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.sessions.kept import Kept

Result = TypeVar("Result")
TEXTS = st.text(max_size=5)


class Sessions(RuleBasedStateMachine):
    """The API's verbs; `model` is what each session must hold, in the order they were made."""

    url = ""
    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.caller = Caller(f"tenant-{uuid.uuid4().hex}", "ann")
        self.model: dict[SessionId, list[tuple[str, str]]] = {}
        self.titles: dict[SessionId, str] = {}
        self.kept = self.run(self._open())

    async def _open(self) -> Kept:
        patient = {"timeout_seconds": 5.0, "connect_timeout_seconds": 5.0}
        self.store = open_store(RedisSettings(url=SecretStr(self.url), **patient), Metrics())
        return Kept(self.store, Cipher((b"k" * 32,)), busy_wait_seconds=0)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what `work` comes to."""
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.store.aclose())
        self.runner.close()

    @rule(target=sessions, title=TEXTS)
    def create(self, title: str) -> SessionId:
        made = self.run(self.kept.store.create(self.caller, NewSession(SessionContent("Be brief.", title))))
        self.model[made.id], self.titles[made.id] = [], title
        return made.id

    @rule(target=sessions, text=TEXTS)
    def ask_anew(self, text: str) -> SessionId:
        session_id = self.run(self._turn(NEW_SESSION, text))
        self.model[session_id], self.titles[session_id] = [("user", text), ("assistant", text[::-1])], ""
        return session_id

    @rule(session_id=sessions, text=TEXTS, ending=st.sampled_from(["whole", "partial", "failed"]))
    def ask(self, session_id: SessionId, text: str, ending: str) -> None:
        if session_id not in self.model:
            with pytest.raises(SessionNotFound):
                self.run(self._turn(session_id, text))
            return
        self.run(self._turn(session_id, text, ending))
        if ending != "failed":
            self.model[session_id] += [("user", text), ("assistant", text[::-1])]

    async def _turn(self, session_id: str, text: str, ending: str = "whole") -> SessionId:
        question, answer = {"role": "user", "content": text}, {"role": "assistant", "content": text[::-1]}
        with await self.kept.room.recall(self.caller, self._asked(session_id, question)) as recall:
            said = [(each["role"], each["content"]) for each in recall.history.messages if each["role"] != "system"]
            assert said == self.model.get(SessionId(session_id), [])
            if ending == "whole":
                await recall.append([question], answer, "stop")
            elif ending == "partial":
                recall.keep_partial([question], answer, "cancelled")
            assert recall.session_id is not None
            return recall.session_id

    def _asked(self, session_id: str, *messages: JsonObject, regenerate: bool = False) -> Asked:
        body = {"messages": messages}
        return Asked(Endpoint.CHAT, "m", body, False, False, session_id, regenerate=regenerate)

    @rule(session_id=sessions, text=TEXTS)
    def regenerate(self, session_id: SessionId, text: str) -> None:
        if not self.model.get(session_id):
            with pytest.raises((SessionNotFound, InvalidRequest)):
                self.run(self._again(session_id, text))
            return
        self.run(self._again(session_id, text))
        said = self.model[session_id]
        while said[-1][0] == "assistant":
            said.pop()
        said.append(("assistant", text))

    async def _again(self, session_id: SessionId, text: str) -> None:
        with await self.kept.room.recall(self.caller, self._asked(session_id, regenerate=True)) as recall:
            await recall.append([], {"role": "assistant", "content": text}, "stop")

    @rule(session_id=sessions, index=st.integers(0, 6))
    def forget(self, session_id: SessionId, index: int) -> None:
        said = self.model.get(session_id, [])
        if index >= len(said):
            return
        _, messages = self.run(self.kept.store.read_whole(self.caller, session_id))
        assert self.run(self.kept.room.forget(self.caller, session_id, messages[index].id)) == len(said) - index
        del said[index:]

    @rule(target=sessions, session_id=sessions, index=st.integers(0, 6))
    def fork(self, session_id: SessionId, index: int) -> SessionId:
        if session_id not in self.model:
            return session_id
        _, messages = self.run(self.kept.store.read_whole(self.caller, session_id))
        until = messages[index].id if index < len(messages) else None
        made = self.run(self.kept.store.fork(self.caller, session_id, until, None))
        self.model[made.id] = self.model[session_id][: index + 1 if until else None]
        self.titles[made.id] = self.titles[session_id]
        return made.id

    @rule(session_id=sessions, title=TEXTS)
    def rename(self, session_id: SessionId, title: str) -> None:
        if session_id in self.model:
            self.run(self.kept.store.update(self.caller, session_id, {"title": title}))
            self.titles[session_id] = title

    @rule(session_id=sessions)
    def delete(self, session_id: SessionId) -> None:
        if session_id not in self.model:
            with pytest.raises(SessionNotFound):
                self.run(self.kept.store.delete(self.caller, session_id))
            return
        self.run(self.kept.store.delete(self.caller, session_id))
        del self.model[session_id], self.titles[session_id]

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        records, more = self.run(self.kept.store.page(self.caller, 100))
        assert {record.id: record.content.title for record in records} == self.titles
        assert not more
        for record in records:
            whole, messages = self.run(self.kept.store.read_whole(self.caller, record.id))
            assert [(each.role, each.kept["content"]) for each in messages] == self.model[record.id]
            assert (whole.message_count, whole.bytes) == (len(messages), sum(each.bytes for each in messages))


def test_sessions_do_what_a_list_of_lists_would_do(redis_server: RedisServer) -> None:
    Sessions.url = redis_server.url
    few = settings(max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Sessions, settings=few)
