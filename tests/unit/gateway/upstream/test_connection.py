"""Whatever bytes come in whatever pieces: the same answer, or an EngineFailure; never a hang, never anything else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import EngineBroke, EngineDied, EngineFailure
from gateway.upstream.http_answer import MAX_HEAD_BYTES, MAX_HEADERS
from tests.proofs import examples
from tests.unit.gateway.upstream.wire import Wire

MANY = settings(max_examples=examples(300), deadline=None)
TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_", min_size=1, max_size=20)
VALUE = st.text("".join(map(chr, range(33, 127))), max_size=30)
FRAMING = ("content-length", "transfer-encoding", "connection", "upgrade", "proxy-connection")


@dataclass(frozen=True)
class Sent:
    """An answer as an engine could write it."""

    head: bytes
    body: bytes
    status: int
    content: bytes
    until_eof: bool

    @property
    def whole(self) -> bytes:
        """All of its bytes."""
        return self.head + self.body


@st.composite
def answers(draw: st.DrawFn) -> Sent:
    """Draw a valid answer of any framing."""
    status = draw(st.sampled_from([200, 200, 201, 400, 404, 500, 503, 599]))
    headers = draw(st.dictionaries(TOKEN.filter(lambda name: name.lower() not in FRAMING), VALUE, max_size=5))
    content = draw(st.binary(max_size=300))
    framing = draw(st.sampled_from(["length", "chunked", "eof"]))
    body = content
    if framing == "length":
        headers[draw(st.sampled_from(["content-length", "Content-Length"]))] = str(len(content))
    elif framing == "chunked":
        headers["transfer-encoding"] = draw(st.sampled_from(["chunked", "Chunked"]))
        body = _chunked(content, draw(st.integers(1, 50)), draw(st.sampled_from([b"", b";a=b"])))
        body += draw(st.sampled_from([b"0\r\n\r\n", b"0\r\nx-trailer: 1\r\n\r\n"]))
    early = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n"]))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return Sent(early + f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode(), body, status, content, framing == "eof")


def _chunked(content: bytes, size: int, extension: bytes) -> bytes:
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut `data` at `places`."""
    at = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [piece for start, end in pairwise(at) if (piece := data[start:end])]


CUTS = st.lists(st.integers(0, 2000), max_size=30)

Result = tuple[int, dict[bytes, bytes], bytes] | EngineFailure


async def _receive(wire: Wire) -> Result:
    exchange, parts = wire.exchange, []
    try:
        await exchange.asked(b"GET / HTTP/1.1\r\n\r\n", b"")
        while part := await exchange.read():
            parts.append(part)
        return exchange.status, dict(exchange.headers), b"".join(parts)
    except EngineFailure as failure:
        return failure
    finally:
        exchange.close()


async def _deliver(pieces: list[bytes], turns: bool, cause: Exception | None) -> Result:
    wire = Wire()
    receiving = asyncio.ensure_future(_receive(wire))
    await asyncio.sleep(0)
    for piece in pieces:
        wire.feed(piece)
        if turns:
            await asyncio.sleep(0)
    wire.end(cause)
    result = await asyncio.wait_for(receiving, 5)
    await asyncio.sleep(0)
    assert wire.lost == [wire.connection]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return result


def deliver(pieces: list[bytes], *, turns: bool = True, cause: Exception | None = None) -> Result:
    """Return what a reader gets of `pieces` and then the end; `turns`: the reader runs in between."""
    return asyncio.run(_deliver(pieces, turns, cause))


@MANY
@given(answers(), CUTS, st.booleans())
def test_any_split_of_an_answer_gives_the_same_result(sent: Sent, places: list[int], turns: bool) -> None:
    whole = deliver([sent.whole])
    assert isinstance(whole, tuple)
    assert (whole[0], whole[2]) == (sent.status, sent.content)
    assert deliver(cut(sent.whole, places), turns=turns) == whole


@MANY
@given(answers(), st.integers(0, 2000), CUTS, st.booleans(), st.booleans())
def test_any_truncation_is_a_failure(sent: Sent, kept: int, places: list[int], turns: bool, reset: bool) -> None:
    # The end of a body without a length cannot be told from a cut, unless the connection was reset.
    cuttable = sent.whole if reset or not sent.until_eof else sent.head
    pieces = cut(cuttable[: kept % len(cuttable)], places)
    result = deliver(pieces, turns=turns, cause=ConnectionResetError() if reset else None)
    assert type(result) is (EngineBroke if pieces else EngineDied)


@MANY
@given(answers(), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=5), CUTS)
def test_any_damage_gives_an_answer_or_a_failure(sent: Sent, damage: list[tuple[int, int]], places: list[int]) -> None:
    data = bytearray(sent.whole)
    for place, byte in damage:
        data[place % len(data)] = byte
    result = deliver(cut(bytes(data), places))
    assert isinstance(result, tuple | EngineFailure)


@MANY
@given(st.binary(max_size=500), CUTS)
def test_any_noise_gives_a_failure(noise: bytes, places: list[int]) -> None:
    assert isinstance(deliver(cut(noise, places)), EngineFailure)


@pytest.mark.parametrize("size", [1000, 16_384, 200_000])
@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 " + b"a" * 1_000_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 1_000_000,
        b"HTTP/1.1 200 OK\r\n" + b"a" * 1_000_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(MAX_HEADERS + 1)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * MAX_HEAD_BYTES + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"a" * 1_000_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: " + b"a" * 1_000_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 200_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000,
    ],
)
def test_what_is_not_body_is_bounded(data: bytes, size: int) -> None:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert type(deliver(pieces)) is EngineBroke


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx : y\r\n\r\n",
        b"HTTP/1.1 999 OK\r\ncontent-length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_for_us_is_broken(data: bytes) -> None:
    assert type(deliver([data])) is EngineBroke


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_never_has_a_body_ends_with_its_head(status: int) -> None:
    result = deliver([b"HTTP/1.1 %d X\r\n\r\n" % status])
    assert result == (status, {}, b"")


def test_a_repeated_header_is_joined() -> None:
    result = deliver([b"HTTP/1.1 200 OK\r\nVary: a\r\nvary: b\r\ncontent-length: 0\r\n\r\n"])
    assert result == (200, {b"vary": b"a, b", b"content-length": b"0"}, b"")
