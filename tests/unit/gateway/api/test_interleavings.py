"""Whatever the client, the engine and the deadline do, and in whatever order: settled once, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from config import (
    AuthSettings,
    EngineSettings,
    LimitsSettings,
    RedisSettings,
    RoutingSettings,
    Settings,
    StreamSettings,
)
from gateway.api.watch import CLIENT
from gateway.app import create_app
from gateway.domain import EngineRequest, Replica, Sink, UpstreamStream
from gateway.errors import EngineBroke, EngineTimedOut, EngineUnreachable
from gateway.quota.calls import Arguments
from gateway.routing.member import State
from gateway.store import Prepared
from tests.proofs import examples

KEY = "interleavings"
PREFIX = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"fake","choices":'
USAGE = '"usage":{"prompt_tokens":3,"total_tokens":5,"completion_tokens":2}'


def event(choices: str, usage: str = "") -> bytes:
    """Return one event of a stream, as the engine writes it."""
    return f"data: {PREFIX}{choices}{usage}}}\n\n".encode()


ROLE = event('[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]', "," + USAGE)
CONTENT = event('[{"index":0,"delta":{"content":"x"},"finish_reason":null}]', "," + USAGE)
ABORT = event('[{"index":0,"delta":{"content":""},"finish_reason":"abort"}]')
ERROR = b'data: {"error": {"message": "m", "code": 500}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = json.dumps(
    {"id": "x", "model": "fake", "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": None}
).encode()

ENGINE: dict[str, bytes | Exception] = {
    "role": ROLE, "content": CONTENT, "abort": ABORT, "error": ERROR, "done": DONE, "whole": WHOLE, "end": b"",
    "cut": EngineBroke("cut"), "silent": EngineTimedOut("silent"),
}  # fmt: skip
ACTIONS = st.sampled_from(["open", "refuse", *ENGINE, "gone", "block", "unblock", "tick", "tick"])


class ScriptedStream:
    """An answer whose bytes come when the test says so."""

    def __init__(self, script: ScriptedEngine) -> None:
        self.status = 200
        self.headers: Mapping[bytes, bytes] = {}
        self.closed = False
        self._script = script
        self._refused: list[bytes | Exception] = []

    async def read(self) -> bytes:
        """Return what the script has next."""
        assert not self.closed, "read after close"
        item = self._refused.pop() if self._refused else await self._script.answers.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def pump(self, sink: Sink) -> None:
        """Give it what the script has next, until it refuses or there is no more than a failure or the end."""
        while True:
            item = await self._script.answers.get()
            if not isinstance(item, bytes) or not item or not sink(item):
                self._refused.append(item)
                return

    def close(self) -> None:
        """Note that it is let go."""
        self.closed = True


class ScriptedEngine:
    """The seam to the engines, driven by the test."""

    def __init__(self) -> None:
        self.opening: asyncio.Queue[str] = asyncio.Queue()
        self.answers: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.streams: list[ScriptedStream] = []

    async def open(self, replica: Replica, request: EngineRequest) -> UpstreamStream:
        """Open or refuse, when the test says so."""
        if await self.opening.get() == "refuse":
            raise EngineUnreachable("refused")
        self.streams.append(ScriptedStream(self))
        return self.streams[-1]

    async def aclose(self) -> None:
        """Nothing is held."""


class Client:
    """The server's side of one connection: what the app receives, and what it sends."""

    def __init__(self, body: bytes) -> None:
        self.loop = asyncio.get_running_loop()
        self.sent: list[dict[str, Any]] = []
        self.writable = asyncio.Event()
        self.writable.set()
        self._body = body
        self._when_gone: Callable[[], None] | None = None
        self._ended = self._gone = False

    def whole_body(self) -> bytes | None:
        """Return the body, which has come with the head."""
        return self._body

    def when_gone(self, callback: Callable[[], None] | None) -> None:
        """Remember whom to tell; tell at once where the client has left already."""
        self._when_gone = callback
        if self._gone:
            self._tell()

    @property
    def blocked(self) -> bool:
        """Whether a send would have to wait."""
        return not self.writable.is_set()

    def push(self, part: bytes) -> bool:
        """Take a part of a stream, if it need not wait."""
        if not self.writable.is_set() or self._gone:
            return False
        self.sent.append({"type": "http.response.body", "body": part, "more_body": True})
        return True

    def leave(self) -> None:
        """Close the connection."""
        if not self._ended:
            self._gone = True
            self._tell()

    def _tell(self) -> None:
        callback, self._when_gone = self._when_gone, None
        if callback is not None:
            callback()

    async def receive(self) -> dict[str, Any]:
        """Fail: the body was here, and nobody waits for more."""
        raise AssertionError("nothing is to be received")

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take a message; a client that has gone takes nothing, without a word."""
        await self.writable.wait()
        self.sent.append(dict(message))
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._ended = True
            self._when_gone = None


def app_settings(folder: str) -> Settings:
    """Return settings of a gateway that needs no Redis and no engine."""
    return Settings(
        auth=AuthSettings(api_key=SecretStr(KEY)),
        redis=RedisSettings(url=SecretStr("unix:///nonexistent")),
        limits=LimitsSettings(requests_per_minute=9, tokens_per_day=90_000, concurrent_requests=2),
        routing=RoutingSettings(engines=("http://127.0.0.1:1", "http://127.0.0.1:2"), queue_seconds=0.05),
        engine=EngineSettings(served_model_name="fake"),
        stream=StreamSettings(first_ping_seconds=0.002, ping_seconds=0.002),
        data_dir=Path(folder),
    )


def scope(client: Client) -> dict[str, Any]:
    """Return the scope of one chat request."""
    headers = [(b"authorization", f"Bearer {KEY}".encode()), (b"content-type", b"application/json")]
    path = "/v1/chat/completions"
    target = {"method": "POST", "path": path, "query_string": b"", "root_path": ""}
    return {"type": "http", **target, "headers": headers, "extensions": {CLIENT: client}}


async def play(actions: list[str], stream: bool, folder: str, *, has_left: bool = False) -> ScriptedEngine:
    """Run one request through these actions, then let its client go, and look at what is left."""
    app = create_app(app_settings(folder))
    rooms = app.state.rooms
    engine = ScriptedEngine()
    rooms.pipeline._engines = engine
    for member in rooms.fleet.members:
        rooms.fleet.learned(member, frozenset({"fake"}))
        rooms.fleet.set_state(member, State.READY)
    settles: list[tuple[Prepared, Arguments]] = []
    rooms.limiter.settles.send = lambda call, arguments: settles.append((call, arguments))
    body = {"model": "fake", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    client = Client(json.dumps(body).encode())
    if has_left:
        client.leave()
    request = asyncio.create_task(app(scope(client), client.receive, client.send))
    for action in actions:
        await act(action, engine, client)
    client.writable.set()
    client.leave()
    await asyncio.wait_for(request, 5)
    for _ in range(3):
        await asyncio.sleep(0)
    check(rooms, engine, client)
    check_settles(rooms, settles, engine)
    return engine


async def act(action: str, engine: ScriptedEngine, client: Client) -> None:
    """Do one thing."""
    if action in ("open", "refuse"):
        engine.opening.put_nowait(action)
    elif action in ENGINE:
        engine.answers.put_nowait(ENGINE[action])
    elif action == "gone":
        client.leave()
    elif action == "block":
        client.writable.clear()
    elif action == "unblock":
        client.writable.set()
    else:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)


def check(rooms: Any, engine: ScriptedEngine, client: Client) -> None:
    """The invariants."""
    settled = [
        sample.value
        for metric in rooms.metrics.requests.collect()
        for sample in metric.samples
        if sample.name == "gateway_requests_total"
    ]
    assert settled == [1.0]
    assert [stream.closed for stream in engine.streams] == [True] * len(engine.streams)
    assert [member.in_flight for member in rooms.fleet.members] == [0, 0]
    assert rooms.metrics.serving == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    kinds = [message["type"] for message in client.sent]
    assert kinds == (["http.response.start"] + ["http.response.body"] * (len(kinds) - 1) if kinds else [])
    bodies = [message for message in client.sent if message["type"] == "http.response.body"]
    assert [message.get("more_body", False) for message in bodies[:-1]] == [True] * (len(bodies) - 1)
    text = b"".join(message.get("body", b"") for message in bodies)
    assert text.count(b"[DONE]") <= 1


def check_settles(rooms: Any, settles: list[tuple[Prepared, Arguments]], engine: ScriptedEngine) -> None:
    """The permit is settled once, by what has been seen of the engine's count, and its place is free again."""
    assert rooms.limiter.open == {}
    assert not rooms.limiter._local._running
    assert len(settles) == (1 if engine.streams else len(settles[:1]))
    for call, (_, _, _, prompt_tokens, answer_tokens, _) in settles:
        booked, unmetered, used = call.arguments[1] != "", call.arguments[3], int(prompt_tokens) + int(answer_tokens)
        assert not (unmetered and not booked)
        if booked and not unmetered:
            assert used == 5
        if not booked:
            assert used == 0


@given(st.lists(ACTIONS, max_size=14), st.booleans())
@settings(max_examples=examples(400), deadline=None)
def test_settled_once_and_nothing_left(actions: list[str], stream: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(actions, stream, folder))


def test_a_whole_stream_is_among_the_histories() -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(["open", "role", "tick", "content", "content", "done", "end", "tick"], True, folder))


@pytest.mark.parametrize("has_left", [False, True])
def test_no_engine_is_asked_for_a_client_that_has_left(has_left: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = asyncio.run(play(["open", "tick"], False, folder, has_left=has_left))
    assert bool(engine.streams) == (not has_left)
