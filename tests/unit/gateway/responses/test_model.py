"""Kept responses on a real Redis, driven at random, do what a list would do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pydantic import SecretStr

import gateway.responses.store as module
from config import RedisSettings
from gateway.domain import Caller
from gateway.errors import InvalidRequest, NotFound
from gateway.store import Cipher, Store, keys, open_store
from gateway.telemetry.metrics import Metrics
from tests.fakes.redis_server import RedisServer
from tests.unit.gateway.responses.kept import Kept, new

Result = TypeVar("Result")
MOST_BYTES = 4096
SAID = st.integers(0, 600).map("x".__mul__)


@dataclass
class Remembered:
    """One response as the model has it."""

    previous: str | None
    said: str
    bytes: int
    used: int


class Responses(RuleBasedStateMachine):
    """The store's verbs; `model` is what must be there."""

    url = ""
    responses = Bundle("responses")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.caller = Caller(f"tenant-{uuid.uuid4().hex}", "ann")
        self.model: dict[str, Remembered] = {}
        self.kept = self.run(self._open())

    async def _open(self) -> Kept:
        patient = {"timeout_seconds": 5.0, "connect_timeout_seconds": 5.0}
        self.store: Store = open_store(RedisSettings(url=SecretStr(self.url), **patient), Metrics())
        return Kept(self.store, Cipher((b"k" * 32,)), max_bytes_per_user=MOST_BYTES)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what `work` comes to."""
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.store.aclose())
        self.runner.close()

    @rule(target=responses, said=SAID)
    def begin(self, said: str) -> str:
        return self._keep(said, None)

    @rule(target=responses, said=SAID, previous=responses)
    def go_on(self, said: str, previous: str) -> str:
        if self._row(previous) is None:
            with pytest.raises(InvalidRequest):
                self.run(self.kept.add(self.caller, said, previous))
            return previous
        return self._keep(said, previous)

    @rule(response_id=responses)
    def look_back(self, response_id: str) -> None:
        row = self._row(response_id)
        if row is None:
            with pytest.raises(InvalidRequest) as caught:
                self.run(self.kept.store.row(self.caller, response_id))
            assert self._first_gone(response_id) in caught.value.message
            return
        found = self.run(self.kept.store.row(self.caller, response_id))
        self._use(row)
        assert [item["content"] for item in found.items] == [
            f"{self.model[each].said}{mark}" for each in reversed(row) for mark in "?!"
        ]
        assert (found.turns, found.bytes) == (len(row), sum(self.model[each].bytes for each in row))

    @rule(response_id=responses)
    def delete(self, response_id: str) -> None:
        if self.model.pop(response_id, None) is None:
            with pytest.raises(NotFound):
                self.run(self.kept.store.delete(self.caller, response_id))
            return
        self.run(self.kept.store.delete(self.caller, response_id))

    @invariant()
    def what_is_there_is_what_the_model_has(self) -> None:
        index, found = self.run(self._indexes())
        sizes = {name.decode(): int(size) for name, size in zip(found[::2], found[1::2], strict=True)}
        assert sizes.pop("sum", 0) == sum(sizes.values())
        assert sizes == {response_id: each.bytes for response_id, each in self.model.items()}
        assert sorted(name.decode() for name in index) == sorted(self.model)
        for response_id, each in self.model.items():
            read = self.run(self.kept.store.read(self.caller, response_id))
            assert read.response["previous_response_id"] == each.previous

    async def _indexes(self) -> tuple[list[bytes], list[bytes]]:
        names = (self.caller.tenant, self.caller.user)
        index = await self.store.call("ZRANGE", keys.responses_of(*names), "0", "-1")
        return index, await self.store.call("HGETALL", keys.response_sizes(*names))

    def _keep(self, said: str, previous: str | None) -> str:
        row = self.run(self.kept.store.row(self.caller, previous)) if previous else None
        if previous:
            self._use(self._row(previous) or [])
        made = new(said, previous)
        size = self.run(self._kept_bytes(made, row))
        response_id: str = made.response["id"]
        others = sorted((each.used, name) for name, each in self.model.items())
        while others and size + sum(each.bytes for each in self.model.values()) > MOST_BYTES:
            del self.model[others.pop(0)[1]]
        self.model[response_id] = Remembered(previous, said, size, Clock.now)
        return response_id

    async def _kept_bytes(self, made: Any, row: Any) -> int:
        await self.kept.store.keep(self.caller, made, row or module.Row())
        key = keys.response(self.caller.tenant, made.response["id"])
        return sum(map(len, await self.store.call("HMGET", key, "input", "output", "response")))

    def _row(self, response_id: str) -> list[str] | None:
        """Return a response and those before it, None where one of them is gone."""
        row: list[str] = []
        following: str | None = response_id
        while following is not None:
            if following not in self.model:
                return None
            row.append(following)
            following = self.model[following].previous
        return row

    def _first_gone(self, response_id: str) -> str:
        while response_id in self.model:
            response_id = self.model[response_id].previous or ""
        return response_id

    def _use(self, row: list[str]) -> None:
        for each in row:
            self.model[each].used = Clock.now


class Clock:
    """Every second use is in the same millisecond as the one before: then the ids tell which goes first."""

    now = module._now_ms()
    _calls = 0

    @classmethod
    def read(cls) -> int:
        """Return the time."""
        cls._calls += 1
        cls.now += cls._calls % 2
        return cls.now


def test_responses_do_what_a_list_would_do(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_now_ms", Clock.read)
    Responses.url = redis_server.url
    few = settings(max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Responses, settings=few)
