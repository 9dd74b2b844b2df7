"""A response on its way out, and the word that its client has gone."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from gateway.api.http_cycle import GatewayCycle

START = {"type": "http.response.start", "status": 200}


class Wire(asyncio.Transport):
    """Where a response is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Note what is written."""
        self.writes.append(bytes(data))

    def close(self) -> None:
        """Note that it is closed."""
        self.closed = True

    def is_closing(self) -> bool:
        """Say so."""
        return self.closed

    def resume_reading(self) -> None:
        """Nothing is read here."""


def _nothing() -> None:
    """Be told that the response is complete."""


def cycle_on(wire: Wire, method: str = "POST", keep_alive: bool = True, version: str = "1.1") -> GatewayCycle:
    """Return the cycle of one request."""
    scope = cast(Any, {"method": method, "http_version": version})
    logger = logging.getLogger("test")
    event = asyncio.Event()
    loop = cast(Any, None)
    return GatewayCycle(
        loop, scope, wire, FlowControl(wire), logger, logger, False, [], event, False, keep_alive, _nothing
    )


async def respond(cycle: GatewayCycle, headers: list[tuple[bytes, bytes]], *parts: bytes) -> None:
    """Send a response in these parts."""
    await cycle.send({**START, "headers": headers})
    for index, part in enumerate(parts):
        await cycle.send({"type": "http.response.body", "body": part, "more_body": index < len(parts) - 1})


async def test_a_head_leaves_with_the_first_part_of_its_body() -> None:
    wire = Wire()
    await respond(cycle_on(wire), [(b"content-length", b"2")], b"ok")
    assert wire.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]
    assert not wire.closed


async def test_without_a_length_the_body_is_chunked_and_ended_once() -> None:
    wire = Wire()
    await respond(cycle_on(wire), [], b"hello", b"", b"bye")
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert wire.writes == [head + b"5\r\nhello\r\n", b"3\r\nbye\r\n0\r\n\r\n"]


async def test_to_http_1_0_a_body_without_a_length_ends_with_the_connection() -> None:
    wire = Wire()
    cycle = cycle_on(wire, keep_alive=False, version="1.0")
    await cycle.send({**START, "headers": []})
    await cycle.send({"type": "http.response.body", "body": b"hello", "more_body": True})
    assert cycle.push(b" and ")
    assert not wire.closed
    await cycle.send({"type": "http.response.body", "body": b"bye"})
    assert b"".join(wire.writes) == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello and bye"
    assert wire.closed


async def test_to_http_1_0_a_body_with_a_length_is_held_to_it() -> None:
    with pytest.raises(RuntimeError, match="than its Content-Length"):
        await respond(cycle_on(Wire(), version="1.0"), [(b"content-length", b"2")], b"abc")


async def test_an_empty_body_still_gets_its_head() -> None:
    wire = Wire()
    await respond(cycle_on(wire), [(b"content-length", b"0")], b"")
    assert wire.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]


async def test_to_head_no_body_is_sent() -> None:
    wire = Wire()
    await respond(cycle_on(wire, method="HEAD"), [(b"content-length", b"2")], b"ok")
    assert wire.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"]


@pytest.mark.parametrize(
    ("headers", "keep_alive"), [([(b"connection", b"Close")], True), ([], False), ([(b"x", b"y")], False)]
)
async def test_a_connection_that_is_not_kept_is_said_and_closed(
    headers: list[tuple[bytes, bytes]], keep_alive: bool
) -> None:
    wire = Wire()
    await respond(cycle_on(wire, keep_alive=keep_alive), headers, b"ok")
    assert wire.writes[0].lower().count(b"connection: close") == 1
    assert wire.closed


@pytest.mark.parametrize(
    "header",
    [(b"x", b"a\r\nset-cookie: b"), (b"x", b"a\nb"), (b"x", b"a\rb"), (b"x\r\ny", b"a"), (b"x", b"a\0")],
)
async def test_a_line_break_smuggled_into_a_header_is_never_written(header: tuple[bytes, bytes]) -> None:
    wire = Wire()
    with pytest.raises(RuntimeError, match="does not allow"):
        await respond(cycle_on(wire), [header], b"ok")
    assert wire.writes == []


@pytest.mark.parametrize("body", [b"a", b"abc"])
async def test_a_body_of_another_length_than_said_is_a_fault(body: bytes) -> None:
    with pytest.raises(RuntimeError, match="than its Content-Length"):
        await respond(cycle_on(Wire()), [(b"content-length", b"2")], body)


async def test_a_client_that_goes_is_told_of_once_and_takes_nothing_more() -> None:
    wire, told = Wire(), list[str]()
    cycle = cycle_on(wire)
    cycle.when_gone(lambda: told.append("gone"))
    cycle.lost()
    cycle.lost()
    await respond(cycle, [], b"ok")
    assert (told, wire.writes) == (["gone"], [])


async def test_who_asks_late_is_told_at_once() -> None:
    told = list[str]()
    cycle = cycle_on(Wire())
    cycle.lost()
    cycle.when_gone(lambda: told.append("gone"))
    assert told == ["gone"]


async def test_nobody_is_told_of_a_client_that_goes_after_its_answer() -> None:
    told = list[str]()
    cycle = cycle_on(Wire())
    cycle.when_gone(lambda: told.append("gone"))
    await respond(cycle, [(b"content-length", b"2")], b"ok")
    cycle.lost()
    assert told == []


async def test_a_body_is_given_out_once_by_either_way() -> None:
    cycle = cycle_on(Wire())
    assert cycle.whole_body() is None
    cycle.body, cycle.more_body = bytearray(b"{}"), False
    assert cycle.whole_body() == b"{}"
    assert cycle.whole_body() is None
    other = cycle_on(Wire())
    other.body, other.more_body = bytearray(b"{}"), False
    other.message_event.set()
    assert (await other.receive())["body"] == b"{}"
    assert other.whole_body() is None


async def test_headers_that_can_be_read_but_once_are_all_sent() -> None:
    wire = Wire()
    cycle = cycle_on(wire)
    await cycle.send({**START, "headers": iter([(b"content-length", b"2"), (b"x-one", b"1")])})
    await cycle.send({"type": "http.response.body", "body": b"ok"})
    assert b"".join(wire.writes) == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-one: 1\r\n\r\nok"
