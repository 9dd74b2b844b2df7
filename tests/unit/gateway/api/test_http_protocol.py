"""One connection of a client: what it may send, for how long, and what it cannot do to others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.api import http_protocol
from gateway.api.http_protocol import GatewayHttpProtocol
from gateway.api.watch import client_of

POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class App:
    """Answers each request, the head once `held` is set and the rest once `go` is; reads a body only where asked to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.seen: list[list[tuple[bytes, bytes]]] = []
        self.held = asyncio.Event()
        self.held.set()
        self.gone = asyncio.Event()
        self.reads = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        client = client_of(scope)
        assert client is not None
        client.when_gone(self.gone.set)
        while self.reads and (await receive()).get("more_body"):
            pass
        self.seen.append(list(scope["headers"]))
        await self.held.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await self.go.wait()
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def served(app: App, keep_alive_seconds: int = 5) -> AsyncIterator[Callable[[], Any]]:
    """Yield what opens a connection to `app`, served by the protocol alone."""
    config = uvicorn.Config(
        app,
        http=GatewayHttpProtocol,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=keep_alive_seconds,
    )
    config.load()
    state = ServerState()
    new = partial(GatewayHttpProtocol, config, state, {})
    server = await asyncio.get_running_loop().create_server(new, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", port)
        opened.append(streams[1])
        return streams

    try:
        yield connect
    finally:
        app.held.set()
        app.go.set()
        for writer in opened:
            writer.transport.abort()
        for connection in list(state.connections):
            connection.transport.abort()
        server.close()
        await server.wait_closed()
        await asyncio.gather(*state.tasks)


async def ended(reader: asyncio.StreamReader, seconds: float = 5.0) -> bytes:
    """Return what still comes until the server closes the connection."""
    try:
        return await asyncio.wait_for(reader.read(), seconds)
    except ConnectionError:
        return b""


async def until_seen(app: App) -> None:
    """Wait until the app has seen a request."""
    async with asyncio.timeout(5):
        while not app.seen:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nx-endless: ", id="a header"),
        pytest.param(b"GET / HTTP/1.1\r\n", id="a header's name"),
        pytest.param(CHUNKED + b"0\r\nx-endless: ", id="a trailer"),
        pytest.param(CHUNKED + b"3;x=", id="a chunk's extension"),
    ],
)
async def test_what_has_no_end_ends_the_connection(start: bytes) -> None:
    app = App()
    app.reads = True
    async with served(app) as connect:
        reader, writer = await connect()
        writer.write(start)
        sent = 0
        with suppress(ConnectionError):
            while sent < 8_000_000 and not reader.at_eof():
                writer.write(b"a" * 65_536)
                await writer.drain()
                await asyncio.sleep(0)
                sent += 65_536
        await ended(reader)
        assert sent < 4_000_000


async def test_trailers_are_no_headers() -> None:
    app = App()
    app.reads = True
    async with served(app) as connect:
        reader, writer = await connect()
        writer.write(CHUNKED + b"3\r\nabc\r\n0\r\nx-forwarded-for: 9.9.9.9\r\nauthorization: Bearer x\r\n\r\n")
        await reader.readuntil(b"ok")
        assert [name for name, _ in app.seen[0]] == [b"host", b"transfer-encoding"]


async def test_many_requests_at_once_cost_no_more_than_their_number() -> None:
    app = App()
    app.go.clear()
    async with served(app) as connect:
        reader, writer = await connect()
        started = time.perf_counter()
        writer.write(GET * 20_000)
        answer = await ended(reader)
        assert b"HTTP/1.1 400" not in answer
        assert time.perf_counter() - started < 2.0
        assert len(app.seen) == 1


async def test_requests_in_a_row_are_answered_in_their_order() -> None:
    app = App()
    async with served(app) as connect:
        reader, writer = await connect()
        writer.write(b"".join(b"GET /?%d HTTP/1.1\r\nhost: x\r\nx-number: %d\r\n\r\n" % (k, k) for k in range(16)))
        for _ in range(16):
            await reader.readuntil(b"ok")
        assert [dict(headers)[b"x-number"] for headers in app.seen] == [b"%d" % k for k in range(16)]


@pytest.mark.parametrize("request_", [GET, POST])
async def test_a_client_that_leaves_is_noticed(request_: bytes) -> None:
    app = App()
    app.go.clear()
    async with served(app) as connect:
        _, writer = await connect()
        writer.write(request_)
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.wait_for(app.gone.wait(), 1.0)


async def test_a_request_that_comes_while_another_is_answered_waits_for_its_turn() -> None:
    app = App()
    app.go.clear()
    async with served(app) as connect:
        reader, writer = await connect()
        for number in (1, 2):
            writer.write(POST.replace(b"host", b"x-number: %d\r\nhost" % number))
            await asyncio.sleep(0.05)
        assert len(app.seen) == 1
        app.go.set()
        await reader.readuntil(b"ok")
        await reader.readuntil(b"ok")
        assert [dict(headers)[b"x-number"] for headers in app.seen] == [b"1", b"2"]


@pytest.mark.parametrize("first", [GET, POST])
async def test_a_client_that_leaves_is_noticed_behind_a_second_request(first: bytes) -> None:
    app = App()
    app.go.clear()
    async with served(app) as connect:
        _, writer = await connect()
        writer.write(first)
        await asyncio.sleep(0.05)
        writer.write(GET)
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.wait_for(app.gone.wait(), 1.0)


@pytest.mark.parametrize("body_bytes", [100_000, 900_000, 5_000_000])
async def test_a_client_that_leaves_is_noticed_behind_the_body_of_a_second_request(body_bytes: int) -> None:
    app = App()
    app.go.clear()
    async with served(app) as connect:
        _, writer = await connect()
        writer.write(GET)
        await asyncio.sleep(0.05)
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % body_bytes + b"a" * body_bytes)
        await writer.drain()
        writer.close()
        await asyncio.wait_for(app.gone.wait(), 2.0)


async def test_a_second_request_whose_body_came_before_its_turn_is_answered() -> None:
    app = App()
    app.reads = True
    app.go.clear()
    async with served(app) as connect:
        reader, writer = await connect()
        writer.write(GET + b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\n" + b"a" * 900_000)
        await asyncio.sleep(0.1)
        app.go.set()
        await reader.readuntil(b"ok")
        await reader.readuntil(b"ok")


async def test_what_is_too_much_before_its_turn_is_dropped_and_said_to_be() -> None:
    app = App()
    app.held.clear()
    app.go.clear()
    async with served(app) as connect:
        reader, writer = await connect()
        writer.write(GET)
        await asyncio.sleep(0.05)
        # More than the sockets between hold, so that it has been read when it is drained.
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n" + b"a" * 50_000_000)
        await writer.drain()
        app.held.set()
        app.go.set()
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" in head
        # What follows is not served: its client was told that nothing is.
        await asyncio.sleep(0.1)
        writer.write(POST)
        assert await ended(reader) == b"ok"
        await asyncio.sleep(0.05)
        assert len(app.seen) == 1


@pytest.mark.parametrize("rest", [b"\r\n", b"a"])
async def test_a_connection_whose_request_was_answered_is_not_kept_for_ever(
    rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(App()) as connect:
        reader, writer = await connect()
        length = b"content-length: 9\r\n" if rest == b"a" else b""
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\n" + length + b"\r\n")
        await reader.readuntil(b"ok")
        # Only now, or a machine that stood still would have the connection closed before its first head came.
        monkeypatch.setattr(http_protocol, "_HEAD_SECONDS", 0.3)
        writer.write(rest)
        assert await ended(reader) == b""


async def test_half_a_head_does_not_end_the_answer_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()
    app.go.clear()
    async with served(app) as connect:
        reader, writer = await connect()
        writer.write(GET)
        await until_seen(app)
        # Only now, or a machine that stood still would have the connection closed before its first head came.
        monkeypatch.setattr(http_protocol, "_HEAD_SECONDS", 0.1)
        writer.write(GET[:9])
        await asyncio.sleep(0.4)
        assert not app.gone.is_set()
        app.go.set()
        assert (await ended(reader)).endswith(b"ok")


@pytest.mark.parametrize("go", [True, False])
async def test_what_is_no_http_is_never_answered_within_another_answer(go: bool) -> None:
    app = App()
    if not go:
        app.go.clear()
    async with served(app) as connect:
        reader, writer = await connect()
        writer.write(GET)
        await until_seen(app)
        writer.write(b"\0\0\0\0\r\n\r\n")
        answer = await ended(reader)
        assert answer.count(b"HTTP/1.1 400") == (1 if go else 0)


async def test_a_client_that_waits_to_be_asked_for_its_body_is_not_trusted_to_send_it_later() -> None:
    async with served(App()) as connect:
        reader, writer = await connect()
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" in head
        assert await ended(reader) == b"ok"


async def test_a_connection_is_not_ended_amid_a_request_that_takes_long_after_one_that_did_not() -> None:
    app = App()
    async with served(app, keep_alive_seconds=1) as connect:
        reader, writer = await connect()
        writer.write(POST)
        await reader.readuntil(b"ok")
        app.go.clear()
        writer.write(POST)
        await asyncio.sleep(1.5)
        assert not app.gone.is_set()
        app.go.set()
        await reader.readuntil(b"ok")


async def test_the_time_for_a_first_head_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "_HEAD_SECONDS", 1.0)
    async with served(App()) as connect:
        reader, writer = await connect()
        writer.write(POST)
        await reader.readuntil(b"ok")
        await asyncio.sleep(2.0)
        writer.write(POST)
        await reader.readuntil(b"ok")
