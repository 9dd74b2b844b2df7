"""How an exchange waits, lets go, and keeps what it holds bounded."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress

import pytest

from gateway.domain import Sink
from gateway.errors import EngineBroke, EngineTimedOut
from gateway.upstream.exchange import Deadlines
from gateway.upstream.http_answer import HttpAnswer
from tests.unit.gateway.upstream.wire import Wire

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n"


async def asked(answer: bytes, deadlines: Deadlines | None = None) -> Wire:
    """Return a wire whose exchange has sent its request and got `answer`."""
    wire = Wire(deadlines) if deadlines else Wire()
    asking = asyncio.ensure_future(wire.exchange.asked(b"head", b"body"))
    await asyncio.sleep(0)
    wire.feed(answer)
    await asking
    return wire


async def test_head_and_body_of_a_small_request_are_one_write() -> None:
    wire = await asked(HEAD)
    assert wire.transport.written == [b"headbody"]
    wire.exchange.close()


async def test_a_whole_answer_releases_the_connection_exactly_once() -> None:
    wire = await asked(HEAD + b"hello")
    assert await wire.exchange.read() == b"hello"
    assert await wire.exchange.read() == b""
    wire.exchange.close()
    wire.exchange.close()
    assert wire.released == [wire.connection]
    assert not wire.transport.closing
    assert await wire.exchange.read() == b""


async def test_a_whole_answer_that_nobody_read_releases_the_connection_too() -> None:
    wire = await asked(HEAD + b"hello")
    wire.exchange.close()
    assert wire.released == [wire.connection]
    assert await wire.exchange.read() == b""


@pytest.mark.parametrize("answer", [HEAD, HEAD + b"hell", HEAD + b"hello" + b"x", HEAD + b"hello" + HEAD])
async def test_what_cannot_serve_again_is_aborted(answer: bytes) -> None:
    wire = await asked(answer)
    wire.exchange.close()
    assert wire.released == []
    assert wire.transport.closing


async def test_surplus_that_comes_later_ends_the_connection() -> None:
    wire = await asked(HEAD + b"hello")
    wire.feed(b"x")
    assert await wire.exchange.read() == b"hello"
    wire.exchange.close()
    assert wire.transport.closing


@pytest.mark.parametrize("answer", [HEAD.replace(b"\r\n", b"\r\nconnection: close\r\n", 1), HEAD])
async def test_nothing_more_is_taken_after_an_answer_that_was_the_last(answer: bytes) -> None:
    surplus = b"" if b"close" in answer else b"x"
    wire = await asked(answer + b"hello" + surplus)
    assert wire.transport.closing
    assert await wire.exchange.read() == b"hello"
    assert await wire.exchange.read() == b""
    wire.exchange.close()


async def test_bytes_on_an_idle_connection_end_it() -> None:
    wire = await asked(HEAD + b"hello")
    wire.exchange.close()
    wire.feed(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert wire.transport.closing
    assert not wire.connection.alive()


async def test_a_request_that_is_still_being_sent_keeps_the_connection_from_serving_again() -> None:
    wire = await asked(HEAD + b"hello")
    wire.transport.unsent = 1
    wire.exchange.close()
    assert wire.released == []


async def test_read_after_close_says_so() -> None:
    wire = await asked(HEAD + b"he")
    wire.exchange.close()
    with pytest.raises(EngineBroke):
        await wire.exchange.read()


async def test_a_second_reader_is_a_fault() -> None:
    wire = await asked(HEAD)
    reading = asyncio.ensure_future(wire.exchange.read())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        await wire.exchange.read()
    wire.exchange.close()
    with pytest.raises(EngineBroke):
        await reading


async def test_what_came_before_a_failure_is_read_first() -> None:
    wire = await asked(HEAD)
    wire.feed(b"he")
    wire.end()
    assert await wire.exchange.read() == b"he"
    for _ in range(2):
        with pytest.raises(EngineBroke):
            await wire.exchange.read()


async def test_reading_from_the_socket_stops_above_the_high_water_mark_and_goes_on_when_read() -> None:
    wire = await asked(ENDLESS)
    fed = 0
    while wire.transport.is_reading():
        wire.feed(b"x" * 16_384)
        fed += 16_384
    assert fed == 81_920
    assert len(await wire.exchange.read()) == fed
    assert wire.transport.is_reading()
    wire.exchange.close()


async def test_a_connection_released_while_paused_is_read_again() -> None:
    wire = await asked(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    wire.feed(b"x" * 90_000)
    assert not wire.transport.is_reading()
    wire.feed(b"x" * 10_000)
    wire.exchange.close()
    assert wire.released == [wire.connection]
    assert wire.transport.is_reading()


async def test_a_large_body_waits_for_the_socket() -> None:
    wire = Wire()
    asking = asyncio.ensure_future(wire.exchange.asked(b"head", b"x" * 200_000))
    wire.connection.pause_writing()
    await asyncio.sleep(0)
    assert wire.transport.written == [b"head"]
    wire.connection.resume_writing()
    await asyncio.sleep(0)
    assert b"".join(wire.transport.written) == b"head" + b"x" * 200_000
    assert max(map(len, wire.transport.written)) <= 65_536
    wire.feed(HEAD + b"hello")
    await asking
    wire.exchange.close()
    assert wire.released == [wire.connection]


async def test_an_early_answer_stops_the_sending_and_spends_the_connection() -> None:
    wire = Wire()
    wire.connection.pause_writing()
    asking = asyncio.ensure_future(wire.exchange.asked(b"head", b"x" * 200_000))
    await asyncio.sleep(0)
    wire.feed(HEAD + b"hello")
    await asking
    assert await wire.exchange.read() == b"hello"
    wire.exchange.close()
    assert wire.transport.written == [b"head"]
    assert wire.released == []


async def test_time_while_we_do_not_read_is_not_the_engines() -> None:
    wire = await asked(ENDLESS, Deadlines(headers=5, idle=0.05, total=5))
    wire.feed(b"x" * 70_000)
    await asyncio.sleep(0.15)
    assert len(await wire.exchange.read()) == 70_000
    with pytest.raises(EngineTimedOut):
        await wire.exchange.read()
    assert wire.transport.closing


async def test_time_while_we_do_not_read_counts_for_the_total() -> None:
    wire = await asked(ENDLESS, Deadlines(headers=5, idle=5, total=1.0))
    wire.feed(b"x" * 70_000)
    await asyncio.sleep(1.2)
    assert wire.transport.closing
    assert len(await wire.exchange.read()) == 70_000
    with pytest.raises(EngineTimedOut):
        await wire.exchange.read()


async def test_a_head_that_dribbles_does_not_move_its_deadline() -> None:
    wire = Wire(Deadlines(headers=0.1, idle=0.05, total=5))
    asking = asyncio.ensure_future(wire.exchange.asked(b"head", b""))
    for byte in HEAD:
        wire.feed(bytes([byte]))
        await asyncio.sleep(0.01)
    with pytest.raises(EngineTimedOut):
        await asking


async def test_events_that_keep_coming_move_the_idle_deadline() -> None:
    wire = await asked(ENDLESS, Deadlines(headers=5, idle=1, total=5))
    for _ in range(6):
        await asyncio.sleep(0.25)
        wire.feed(b"x")
    assert await wire.exchange.read() == b"x" * 6
    wire.exchange.close()


async def test_a_cancelled_read_closes_the_socket_even_when_bytes_have_just_come() -> None:
    wire = await asked(HEAD)
    reading = asyncio.ensure_future(wire.exchange.read())
    await asyncio.sleep(0)
    wire.feed(b"he")
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    assert wire.transport.closing


def parsers() -> int:
    """Return how many answers are in memory."""
    return sum(type(thing) is HttpAnswer for thing in gc.get_objects())


@pytest.mark.parametrize("answer", [HEAD + b"hello", HEAD + b"he"])
async def test_an_answer_is_gone_once_closed_without_the_collector(answer: bytes) -> None:
    gc.collect()
    gc.disable()
    try:
        before = parsers()
        wire = await asked(answer)
        assert parsers() == before + 1
        wire.exchange.close()
        del wire.exchange
        # The loop still has the task that asked, and its result.
        await asyncio.sleep(0)
        assert parsers() == before
    finally:
        gc.enable()


async def test_a_pump_gives_what_comes_until_it_is_refused_and_the_rest_is_read() -> None:
    wire = await asked(ENDLESS)
    taken: list[bytes] = []

    def sink(data: bytes) -> bool:
        if data == b"no":
            return False
        taken.append(data)
        return True

    pumping = asyncio.ensure_future(wire.exchange.pump(sink))
    await asyncio.sleep(0)
    for data in (b"one", b"two", b"no", b"three"):
        wire.feed(data)
    await pumping
    assert taken == [b"one", b"two"]
    assert await wire.exchange.read() == b"nothree"
    wire.exchange.close()


def into(taken: list[bytes]) -> Sink:
    """Return a sink that takes everything."""

    def sink(data: bytes) -> bool:
        taken.append(data)
        return True

    return sink


async def test_a_pump_leaves_the_last_piece_and_what_was_there_before_to_the_reader() -> None:
    wire = await asked(HEAD + b"he")
    taken: list[bytes] = []
    await wire.exchange.pump(into(taken))
    assert await wire.exchange.read() == b"he"
    pumping = asyncio.ensure_future(wire.exchange.pump(into(taken)))
    await asyncio.sleep(0)
    wire.feed(b"l")
    wire.feed(b"lo")
    await pumping
    assert taken == [b"l"]
    assert await wire.exchange.read() == b"lo"
    assert await wire.exchange.read() == b""
    wire.exchange.close()


async def test_a_failure_and_a_deadline_end_a_pump_and_are_read() -> None:
    wire = await asked(HEAD)
    pumping = asyncio.ensure_future(wire.exchange.pump(lambda _: True))
    await asyncio.sleep(0)
    wire.connection.connection_lost(None)
    await pumping
    with pytest.raises(EngineBroke):
        await wire.exchange.read()
    late = await asked(HEAD, Deadlines(headers=1, idle=0.01, total=1))
    await late.exchange.pump(lambda _: True)
    with pytest.raises(EngineTimedOut):
        await late.exchange.read()


async def test_who_cancels_a_pump_closes_the_answer() -> None:
    wire = await asked(HEAD)
    pumping = asyncio.ensure_future(wire.exchange.pump(lambda _: True))
    await asyncio.sleep(0)
    pumping.cancel()
    with suppress(asyncio.CancelledError):
        await pumping
    assert wire.transport.closing


async def test_a_request_that_cannot_be_written_leaves_no_connection_open() -> None:
    wire = Wire()

    def fail(_: bytes) -> None:
        raise RuntimeError("not now")

    wire.transport.write = fail  # type: ignore[method-assign,assignment]
    with pytest.raises(RuntimeError):
        await wire.exchange.asked(b"head", b"body")
    assert wire.transport.closing
