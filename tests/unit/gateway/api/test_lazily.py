"""Parts of a connection that are made when they are needed, and do the same."""

from __future__ import annotations

import asyncio
import itertools
import tracemalloc
from typing import Any

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.api.http_protocol import GatewayHttpProtocol
from gateway.api.lazily import NOT_MADE_YET, LazyEvent, LazyFlow, request_parser
from tests.unit.gateway.api.test_http_cycle import Wire

PLAIN = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
STEPS = ("set", "clear", "wait", "turn")


async def told(event: asyncio.Event, steps: tuple[str, ...]) -> list[Any]:
    """Return what an event does in these steps, each waiter by its number."""
    log: list[Any] = []
    waiting: list[asyncio.Task[None]] = []

    async def wait(number: int) -> None:
        log.append((number, await event.wait()))

    for step in steps:
        if step == "wait":
            waiting.append(asyncio.create_task(wait(len(waiting))))
        elif step == "turn":
            for _ in range(4):
                await asyncio.sleep(0)
        else:
            getattr(event, step)()
        log.append(event.is_set())
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return log


async def test_it_is_an_event() -> None:
    for between in itertools.product(STEPS, repeat=4):
        steps = ("turn", *between, "turn", "set", "turn")
        assert await told(LazyEvent(), steps) == await told(asyncio.Event(), steps), steps


async def test_it_can_be_shown() -> None:
    assert repr(LazyEvent()) == "<LazyEvent unset>"
    assert repr(LazyEvent(is_set=True)) == "<LazyEvent set>"


async def test_it_may_be_set_from_the_start() -> None:
    assert await asyncio.wait_for(LazyEvent(is_set=True).wait(), 1)


async def test_a_flow_that_is_paused_waits_for_the_client() -> None:
    flow = LazyFlow(Wire())
    await asyncio.wait_for(flow.drain(), 1)
    flow.pause_writing()
    draining = asyncio.create_task(flow.drain())
    await asyncio.sleep(0.01)
    assert not draining.done()
    flow.resume_writing()
    await asyncio.wait_for(draining, 1)


async def test_the_parser_is_made_as_uvicorn_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Parser:
        """Notes how it is made."""

        def __init__(self, protocol: object) -> None:
            made.append(type(protocol))

        def set_dangerous_leniencies(self, **leniencies: bool) -> None:
            """Note which."""
            made.append(leniencies)

    config = configured()
    monkeypatch.setattr(httptools, "HttpRequestParser", Parser)
    HttpToolsProtocol(config, ServerState(), {})
    of_uvicorn = made.copy()
    made.clear()
    request_parser(object())

    assert made[1:] == of_uvicorn[1:] != []


def configured() -> uvicorn.Config:
    """Return a server's configuration with an app that answers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, http=GatewayHttpProtocol, log_config=None, access_log=False, lifespan="off")
    config.load()
    return config


async def test_a_connection_has_a_parser_from_the_first_request_that_needs_one() -> None:
    wire, state = Wire(), ServerState()
    connection = GatewayHttpProtocol(configured(), state, {})
    connection.connection_made(wire)
    for data, has_one in ((PLAIN, False), (PLAIN, False), (CHUNKED, True), (PLAIN, True)):
        connection.data_received(data)
        await asyncio.gather(*state.tasks)
        assert (connection.parser is not NOT_MADE_YET) == has_one
    assert len(wire.writes) == 4
    connection.connection_lost(None)


async def test_after_its_end_a_connection_serves_nothing() -> None:
    wire, state = Wire(), ServerState()
    connection = GatewayHttpProtocol(configured(), state, {})
    connection.connection_made(wire)
    wire.close()
    connection.connection_lost(None)
    with pytest.raises(AttributeError):
        connection.data_received(CHUNKED)
    assert not state.tasks


async def test_a_connection_takes_little_memory() -> None:
    many, config, state = 200, configured(), ServerState()

    async def connected() -> GatewayHttpProtocol:
        connection = GatewayHttpProtocol(config, state, {})
        connection.connection_made(Wire())
        connection.data_received(PLAIN)
        await asyncio.gather(*state.tasks)
        return connection

    kept = [await connected()]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept += [await connected() for _ in range(many)]
        bytes_each = (tracemalloc.get_traced_memory()[0] - before) / many
    finally:
        tracemalloc.stop()
    # Each part that is not made takes 700 to 1,300 more.
    assert bytes_each < 3_700, "it was 3,190"
    for connection in kept:
        connection.connection_lost(None)
