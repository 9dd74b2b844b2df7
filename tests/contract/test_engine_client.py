"""What `EngineClient` promises, asked of our client and of one on httpx, over TCP and unix sockets."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from gateway.domain import EngineClient, EngineRequest, Replica, UpstreamStream
from gateway.errors import EngineBroke, EngineDied, EngineFailure, EngineTimedOut, EngineUnreachable
from gateway.upstream.client import EngineConnections
from tests.contract.httpx_client import HttpxEngineClient
from tests.fakes.collector import collecting_only_what_is_made_now
from tests.fakes.process import EngineProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMPLEMENTATIONS: dict[str, Callable[..., EngineClient]] = {"ours": EngineConnections, "httpx": HttpxEngineClient}
DISCONNECT_SECONDS = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[EngineProcess]:
    """One scripted engine for all tests."""
    with collecting_only_what_is_made_now():
        async with EngineProcess() as process:
            yield process


@dataclass
class Subject:
    """The implementation under test, and the engine as it reaches it."""

    name: str
    engine: EngineProcess
    replica: Replica
    made: list[EngineClient]

    def client(self, **timeouts: float) -> EngineClient:
        """Make a client, which is closed after the test."""
        client = IMPLEMENTATIONS[self.name](**timeouts)
        self.made.append(client)
        return client

    def connections(self, client: EngineClient) -> int:
        """Return the number of the client's sockets (0 for httpx, which does not tell)."""
        return client.open_connections if isinstance(client, EngineConnections) else 0


@pytest_asyncio.fixture(loop_scope="module", params=["ours-tcp", "ours-unix", "httpx-tcp", "httpx-unix"])
async def subject(request: pytest.FixtureRequest, engine: EngineProcess) -> AsyncIterator[Subject]:
    """Give each case a fresh client; afterwards nothing may be left of it: no socket, no task, nothing running."""
    async with a_subject(request.param, engine) as subject:
        yield subject


@pytest_asyncio.fixture(loop_scope="module", params=["ours-tcp", "ours-unix"])
async def ours(request: pytest.FixtureRequest, engine: EngineProcess) -> AsyncIterator[Subject]:
    """Our client only: for what httpx cannot do, which the test says."""
    async with a_subject(request.param, engine) as subject:
        yield subject


@asynccontextmanager
async def a_subject(kind: str, engine: EngineProcess) -> AsyncIterator[Subject]:
    """Make what `kind` names, and check what is left of it afterwards."""
    await engine.reset()
    name, _, transport = kind.partition("-")
    subject = Subject(name, engine, engine.unix_replica if transport == "unix" else engine.replica, [])
    yield subject
    for client in subject.made:
        await client.aclose()
        assert subject.connections(client) == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await engine.reset()
    await engine.eventually(running=0, open_connections=0)
    gc.collect()


def chat(*, stream: bool = True, said: str = "hello", request_id: str = "req_1", **fields: Any) -> EngineRequest:
    """Return a chat request."""
    body = {"model": "gemma-3n", "messages": [{"role": "user", "content": said}], "stream": stream} | fields
    headers = (("content-type", "application/json"), ("x-request-id", request_id))
    return EngineRequest("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)


async def read_all(stream: UpstreamStream) -> bytes:
    """Read to the end and close."""
    parts = []
    try:
        while part := await stream.read():
            parts.append(part)
    finally:
        stream.close()
    return b"".join(parts)


async def answer(client: EngineClient, replica: Replica, request: EngineRequest) -> bytes:
    """Ask and read to the end."""
    return await read_all(await client.open(replica, request))


async def connections_used(engine: EngineProcess) -> list[int]:
    """Return for each request the number of the connection it came on."""
    return [request["connection"] for request in (await engine.stats())["requests"]]


# Answers.


async def test_the_request_reaches_the_engine_as_it_was_given(subject: Subject) -> None:
    request = chat(stream=False, said="grüße")
    stream = await subject.client().open(subject.replica, request)
    body = await read_all(stream)
    seen = (await subject.engine.stats())["requests"][0]
    assert (stream.status, stream.headers[b"content-type"]) == (200, b"application/json")
    assert json.loads(body)["choices"][0]["message"]["content"] == "You said: grüße"
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", request.path, request.body.decode())
    assert seen["headers"]["x-request-id"] == "req_1"
    assert seen["headers"]["host"] == f"127.0.0.1:{subject.replica.port}"
    assert seen["headers"]["content-length"] == str(len(request.body))


async def test_a_request_without_a_body_is_sent(subject: Subject) -> None:
    models = await answer(subject.client(), subject.replica, EngineRequest("GET", "/v1/models", b""))
    assert json.loads(models)["data"][0]["max_model_len"] == 32_768


async def test_events_are_readable_before_the_answer_ends(subject: Subject) -> None:
    await subject.engine.script("hold")
    stream = await subject.client().open(subject.replica, chat())
    first = await stream.read()
    await subject.engine.release()
    assert first.startswith(b'data: {"id":"chatcmpl-req_1"')
    assert (await read_all(stream)).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("behaviour", "streamed"),
    [
        ("split_bytes", True),
        ("split_bytes", False),
        ("merge", True),
        ("merge", False),
        ("slow_headers", True),
        ("slow_first_token", True),
    ],
)
async def test_how_bytes_are_cut_into_reads_makes_no_difference(
    subject: Subject, behaviour: str, streamed: bool
) -> None:
    client = subject.client()
    plain = await answer(client, subject.replica, chat(stream=streamed))
    await subject.engine.script(behaviour, seconds=0.02, between=0)
    assert await answer(client, subject.replica, chat(stream=streamed)) == plain


@pytest.mark.parametrize(("behaviour", "status"), [("refuse_503", 503), ("error_400", 400)])
async def test_an_error_status_is_an_answer(subject: Subject, behaviour: str, status: int) -> None:
    await subject.engine.script(behaviour)
    stream = await subject.client().open(subject.replica, chat())
    assert stream.status == status
    assert json.loads(await read_all(stream))["error"]["code"] == status


@pytest.mark.parametrize(("behaviour", "mark"), [("abort", b'"abort"'), ("error_in_stream", b'data: {"error": {')])
async def test_what_the_engine_says_in_its_stream_is_passed_on(subject: Subject, behaviour: str, mark: bytes) -> None:
    await subject.engine.script(behaviour)
    assert mark in await answer(subject.client(), subject.replica, chat())


@pytest.mark.parametrize(
    ("data", "then"),
    [
        ("HTTP/1.1 200 OK\r\n\r\nall of it", "close"),
        ("HTTP/1.0 200 OK\r\n\r\nall of it", "close"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nall of it", "keep"),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nall of it", "keep"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall of it", "close"),
        ("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall of it", "close"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9;x=y\r\nall of it\r\n0\r\nTrailer: x\r\n\r\n", "close"),
    ],
)
async def test_every_framing_of_http_is_understood_and_these_connections_are_not_used_again(
    subject: Subject, data: str, then: str
) -> None:
    client = subject.client()
    await subject.engine.script("raw", data=data, then=then)
    assert await answer(client, subject.replica, chat()) == b"all of it"
    assert await answer(client, subject.replica, chat(stream=False))
    first, second = await connections_used(subject.engine)
    assert first != second


@pytest.mark.parametrize("surplus", ["HTTP/1.1 200 OK\r\n\r\n", "x"])
async def test_a_connection_with_bytes_after_the_answer_is_not_used_again(ours: Subject, surplus: str) -> None:
    """Ours only: httpx takes bytes after an answer for the answer to the next request."""
    client = ours.client()
    data = f"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall of it{surplus}"
    await ours.engine.script("raw", data=data, then="wait")
    assert await answer(client, ours.replica, chat()) == b"all of it"
    assert await answer(client, ours.replica, chat(stream=False))
    first, second = await connections_used(ours.engine)
    assert first != second


async def test_a_large_request_arrives_whole(subject: Subject) -> None:
    said = "x" * 8_000_000
    body = json.loads(await answer(subject.client(), subject.replica, chat(stream=False, said=said)))
    assert body["choices"][0]["message"]["content"] == f"You said: {said}"


async def test_an_engine_may_answer_before_it_has_read_the_request(ours: Subject) -> None:
    """Ours only: httpx writes the whole body before it reads, so it waits for an engine that does not read."""
    client = ours.client()
    await ours.engine.script("error_400", status=413, unread_body=True, seconds=0.2)
    stream = await client.open(ours.replica, chat(said="x" * 20_000_000))
    assert stream.status == 413
    await read_all(stream)
    await asyncio.sleep(0.05)
    assert ours.connections(client) == 0, "half a request is on this connection"


async def test_small_writes_are_sent_without_delay(ours: Subject) -> None:
    """Ours only: httpcore sets TCP_NODELAY, but there is no way to ask for its sockets."""
    client = ours.client()
    await answer(client, ours.replica, chat(stream=False))
    assert isinstance(client, EngineConnections)
    (connection,) = client._pool._open
    used: socket.socket = connection.transport.get_extra_info("socket")
    if used.family == socket.AF_INET:
        assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# Failures.


@pytest.mark.parametrize(
    ("behaviour", "parameters", "expected"),
    [
        ("cut_before_headers", {}, EngineDied),
        ("reset", {}, EngineDied),
        ("garbage", {}, EngineBroke),
        ("huge_headers", {}, EngineBroke),
        ("raw", {"data": "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nx", "then": "wait"}, EngineBroke),
        ("hang", {"silent": True}, EngineTimedOut),
        ("slow_headers", {"seconds": 0, "between": 0.05}, EngineTimedOut),
    ],
)
async def test_a_failure_before_the_head_comes_from_open(
    subject: Subject, behaviour: str, parameters: dict[str, Any], expected: type[EngineFailure]
) -> None:
    client = subject.client(headers_timeout_seconds=0.3 if expected is EngineTimedOut else 5.0)
    await subject.engine.script(behaviour, **parameters)
    with pytest.raises(EngineFailure) as raised:
        await client.open(subject.replica, chat())
    if subject.name == "httpx" and expected is EngineDied:
        # httpx does not tell whether the engine had the request.
        expected = EngineUnreachable
    assert type(raised.value) is expected
    await subject.engine.eventually(open_connections=0)


async def test_a_head_that_is_cut_is_broken(ours: Subject) -> None:
    """Ours only: httpx says of a cut head what it says of none."""
    await ours.engine.script("raw", data="HTTP/1.1 200 OK\r\nContent-", then="close")
    with pytest.raises(EngineBroke):
        await ours.client().open(ours.replica, chat())


@pytest.mark.parametrize(
    ("behaviour", "parameters", "expected"),
    [
        ("cut_mid_stream", {}, EngineBroke),
        ("cut_mid_stream", {"extra": 7}, EngineBroke),
        ("half_close", {}, EngineBroke),
        ("reset", {"chunks": 2}, EngineBroke),
        ("bad_chunk_framing", {}, EngineBroke),
        ("hang", {"chunks": 2}, EngineTimedOut),
    ],
)
async def test_a_failure_within_the_body_comes_from_read_after_what_had_come(
    subject: Subject, behaviour: str, parameters: dict[str, Any], expected: type[EngineFailure]
) -> None:
    client = subject.client(idle_timeout_seconds=0.3 if expected is EngineTimedOut else 5.0)
    await subject.engine.script(behaviour, **parameters)
    stream = await client.open(subject.replica, chat())
    first = await stream.read()
    assert first.startswith(b"data: {")
    with pytest.raises(EngineFailure) as raised:
        await read_all(stream)
    assert type(raised.value) is expected
    with pytest.raises(EngineFailure):
        await stream.read()
    await subject.engine.eventually(open_connections=0)


async def test_a_cut_answer_that_is_not_streamed_is_broken(subject: Subject) -> None:
    await subject.engine.script("cut_mid_stream")
    with pytest.raises(EngineBroke):
        await answer(subject.client(), subject.replica, chat(stream=False))


async def test_the_total_time_ends_an_answer_that_never_stops(subject: Subject) -> None:
    await subject.engine.script("normal", itl_ms=20)
    started = time.monotonic()
    with pytest.raises(EngineTimedOut):
        await answer(subject.client(total_timeout_seconds=0.4), subject.replica, chat(said="word " * 200))
    assert 0.3 < time.monotonic() - started < 1.0
    await subject.engine.eventually(aborted=1)


async def test_an_engine_that_is_not_there_is_unreachable(subject: Subject, unused_tcp_port: int) -> None:
    gone = Replica("gone", "127.0.0.1", unused_tcp_port, subject.replica.unix_socket and "/nonexistent/engine.sock")
    with pytest.raises(EngineUnreachable):
        await subject.client().open(gone, chat())


@pytest.fixture
def full_listener() -> Iterator[int]:
    """A port that listens and whose queue is full, so that connecting waits."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port: int = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            yield port


async def test_connecting_has_its_own_time_limit(subject: Subject, full_listener: int) -> None:
    full = Replica("full", "127.0.0.1", full_listener)
    started = time.monotonic()
    with pytest.raises(EngineUnreachable):
        await subject.client(connect_timeout_seconds=0.2).open(full, chat())
    assert time.monotonic() - started < 1.0


async def test_a_stopped_engine_times_out_and_works_again(subject: Subject) -> None:
    client = subject.client(headers_timeout_seconds=1.0)
    await answer(client, subject.replica, chat(stream=False))
    subject.engine.stop()
    try:
        with pytest.raises(EngineTimedOut):
            await client.open(subject.replica, chat())
    finally:
        subject.engine.cont()
    assert await answer(client, subject.replica, chat(stream=False))


# Keeping connections.


async def test_a_connection_whose_answer_was_read_whole_is_used_again(subject: Subject) -> None:
    client = subject.client()
    for streamed in (True, False, True):
        await answer(client, subject.replica, chat(stream=streamed))
    assert len(set(await connections_used(subject.engine))) == 1


async def test_a_stale_connection_is_tried_once_more_on_a_fresh_one(subject: Subject) -> None:
    client = subject.client()
    await answer(client, subject.replica, chat(stream=False))
    await subject.engine.script("stale")
    assert b"[DONE]" in await answer(client, subject.replica, chat(said="second"))
    first, stale, fresh = (await subject.engine.stats())["requests"]
    assert first["connection"] == stale["connection"] != fresh["connection"]
    assert stale["body"] == fresh["body"]


async def test_a_fresh_connection_that_is_closed_is_not_tried_again(subject: Subject) -> None:
    client = subject.client()
    await answer(client, subject.replica, chat(stream=False))
    await subject.engine.script("cut_before_headers", times=-1)
    with pytest.raises(EngineUnreachable):
        await client.open(subject.replica, chat())
    assert (await subject.engine.stats())["seen"] == 3


async def test_a_connection_that_had_begun_to_answer_is_not_tried_again(ours: Subject) -> None:
    """Ours only: httpx says of a cut head what it says of none."""
    client = ours.client()
    await answer(client, ours.replica, chat(stream=False))
    await ours.engine.script("raw", data="HTTP/1.1 20", then="close")
    with pytest.raises(EngineBroke):
        await client.open(ours.replica, chat())
    assert (await ours.engine.stats())["seen"] == 2


async def test_a_killed_engine_breaks_its_streams_and_serves_again_once_restarted(
    subject: Subject, unused_tcp_port: int
) -> None:
    client = subject.client()
    async with EngineProcess(port=unused_tcp_port) as engine:
        replica = engine.unix_replica if subject.replica.unix_socket else engine.replica
        await answer(client, replica, chat(stream=False))
        await engine.script("hold")
        held = await client.open(replica, chat())
        await engine.kill()
        with pytest.raises(EngineBroke):
            await read_all(held)
        with pytest.raises(EngineUnreachable):
            await client.open(replica, chat())
        await engine.start()
        assert await answer(client, replica, chat(stream=False))


async def test_many_at_once_get_each_its_own_answer(subject: Subject) -> None:
    client = subject.client()

    async def one(number: int) -> None:
        body = await answer(client, subject.replica, chat(said=f"n{number}", request_id=f"r{number}"))
        assert f"chatcmpl-r{number}".encode() in body
        assert f'" n{number}"'.encode() in body

    for _ in range(3):
        await asyncio.gather(*(one(number) for number in range(64)))
    assert len(set(await connections_used(subject.engine))) <= 64


# Letting go.


async def notices(subject: Subject, since: float, count: int = 1) -> None:
    """Assert that the engine noticed within `DISCONNECT_SECONDS`."""
    stats = await subject.engine.eventually(aborted=count, running=0)
    assert all(abort["at"] - since < DISCONNECT_SECONDS for abort in stats["aborts"])


async def test_close_within_a_stream_is_noticed_by_the_engine_at_once(subject: Subject) -> None:
    await subject.engine.script("hold")
    stream = await subject.client().open(subject.replica, chat())
    await stream.read()
    closed_at = time.monotonic()
    stream.close()
    await notices(subject, closed_at)


async def test_close_wakes_a_reader_with_a_failure(ours: Subject) -> None:
    """Ours only: httpx closes from a task of its own, which does not wake a read that waits."""
    await ours.engine.script("hang")
    stream = await ours.client().open(ours.replica, chat())
    reading = asyncio.ensure_future(stream.read())
    await asyncio.sleep(0.01)
    stream.close()
    with pytest.raises(EngineBroke):
        await reading


async def test_close_may_be_called_again_even_when_the_connection_serves_another(subject: Subject) -> None:
    client = subject.client()
    first = await client.open(subject.replica, chat(stream=False))
    await read_all(first)
    await asyncio.sleep(0)
    await subject.engine.script("hold")
    second = await client.open(subject.replica, chat())
    first.close()
    first.close()
    await subject.engine.release()
    assert (await read_all(second)).endswith(b"data: [DONE]\n\n")
    second.close()


@pytest.mark.parametrize("behaviour", ["hang", "hold"])
async def test_a_cancelled_read_closes_the_connection(subject: Subject, behaviour: str) -> None:
    await subject.engine.script(behaviour)
    stream = await subject.client().open(subject.replica, chat())
    reading = asyncio.ensure_future(read_all(stream))
    await asyncio.sleep(0.05)
    cancelled_at = time.monotonic()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await notices(subject, cancelled_at)


async def test_a_cancelled_open_closes_the_connection(subject: Subject) -> None:
    await subject.engine.script("hang", silent=True)
    opening = asyncio.ensure_future(subject.client().open(subject.replica, chat()))
    await subject.engine.eventually(running=1)
    cancelled_at = time.monotonic()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await notices(subject, cancelled_at)


async def test_cancelling_at_any_moment_leaves_nothing_behind(subject: Subject) -> None:
    client = subject.client()
    for turns in range(40):
        task = asyncio.ensure_future(answer(client, subject.replica, chat()))
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        await asyncio.sleep(0.0002 * (turns // 20) * turns)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await subject.engine.eventually(running=0)
    assert subject.connections(client) <= 1


async def test_cancelling_while_connecting_leaves_nothing_behind(subject: Subject, full_listener: int) -> None:
    client = subject.client()
    opening = asyncio.ensure_future(client.open(Replica("full", "127.0.0.1", full_listener), chat()))
    await asyncio.sleep(0.02)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert subject.connections(client) == 0


async def test_aclose_closes_idle_and_busy_connections(subject: Subject) -> None:
    client = subject.client()
    await subject.engine.script("hang")
    busy = await client.open(subject.replica, chat())
    await answer(client, subject.replica, chat())
    await client.aclose()
    await subject.engine.eventually(open_connections=0)
    with pytest.raises(EngineFailure):
        await busy.read()
    busy.close()


async def test_aclose_wakes_readers_and_refuses_new_requests(ours: Subject) -> None:
    """Ours only: httpx neither wakes a waiting read nor has an engine failure for a closed client."""
    client = ours.client()
    await ours.engine.script("hang")
    busy = await client.open(ours.replica, chat())
    reading = asyncio.ensure_future(busy.read())
    await asyncio.sleep(0)
    await client.aclose()
    with pytest.raises(EngineBroke):
        await reading
    with pytest.raises(EngineUnreachable):
        await client.open(ours.replica, chat())


# Backpressure.


async def test_a_slow_reader_slows_the_engine_and_memory_stays_bounded(subject: Subject) -> None:
    await subject.engine.script("pour", bytes=50_003_968)
    stream = await subject.client().open(subject.replica, chat())
    await asyncio.sleep(0.3)
    assert (await subject.engine.stats())["finished"] == 0, "50 MB must not fit anywhere"
    tracemalloc.start()
    try:
        total = 0
        while part := await stream.read():
            total += len(part)
            await asyncio.sleep(0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        stream.close()
    assert total == 50_003_968
    assert peak < 3_000_000


async def test_our_own_slowness_is_not_the_engines_silence(subject: Subject) -> None:
    await subject.engine.script("pour", bytes=20_004_864)
    stream = await subject.client(idle_timeout_seconds=1.0).open(subject.replica, chat())
    total = 0
    for _ in range(3):
        await asyncio.sleep(1.5)
        total += len(await stream.read())
    assert total + len(await read_all(stream)) == 20_004_864


async def test_an_answer_that_is_pumped_has_the_same_bytes(subject: Subject) -> None:
    await subject.engine.script("pour", bytes=999_424)
    stream = await subject.client().open(subject.replica, chat())
    total = 0

    def take(data: bytes) -> bool:
        nonlocal total
        total += len(data)
        return True

    while part := await stream.read():
        take(part)
        await stream.pump(take)
    stream.close()
    assert total == 999_424
