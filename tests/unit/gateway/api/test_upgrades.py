"""A request that asks for an upgrade is served as if it did not ask: RFC 9110, section 7.8."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proofs import examples
from tests.unit.gateway.api.test_plain_requests import outcome

JAVA = (
    b"POST /v1/chat/completions HTTP/1.1\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\n"
    b"Content-Length: 15\r\n"
    b"Host: 127.0.0.1:8000\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    b"Upgrade: h2c\r\n"
    b"User-Agent: Java-http-client/17.0.9\r\n"
    b"content-type: application/json\r\n"
    b"\r\n"
    b'{"messages":[]}'
)
"""What the HttpClient of a JDK sends over plain HTTP, with a body that says its length."""
JAVA_CHUNKED = JAVA.replace(b"Content-Length: 15", b"Transfer-encoding: chunked").replace(
    b'{"messages":[]}', b'9\r\n{"message\r\n6\r\ns":[]}\r\n0\r\n\r\n'
)
"""With a body that is made as it is sent."""
GET = b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /then HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"

FRAMINGS = {
    "a length": b"content-length: %d\r\n\r\n" % len(GET) + GET,
    "no body": b"\r\n",
    "an empty body": b"content-length: 0\r\n\r\n",
    "chunks": b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(GET) + GET + b"\r\n0\r\nx: y\r\n\r\n",
    "chunks in another case": b"Transfer-Encoding: Chunked\r\n\r\n1;a=b\r\nh\r\n0\r\n\r\n",
    "a length and chunks": b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    "chunks and a length": b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + GET,
    "two lengths": b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello" + GET,
    "one length twice": b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello" + GET,
    "no length": b"content-length: five\r\n\r\nhello" + GET,
    "another coding": b"transfer-encoding: gzip\r\n\r\nhello" + GET,
    "codings": b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + GET,
    "codings in two": b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    "chunks not last": b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + GET,
    "chunks spelt oddly": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + GET,
    "no chunk": b"transfer-encoding: chunked\r\n\r\nzz\r\n" + GET,
    "a client that waits": b"expect: 100-continue\r\ncontent-length: 2\r\n\r\nhi",
    "the last": b"connection: close\r\ncontent-length: 2\r\n\r\nhi",
    "no HTTP behind it": b"content-length: 2\r\n\r\nhiNO HTTP\r\n\r\n",
}
Piece = tuple[bytes, bool]
"""Bytes, and whether they are those of an upgrade."""


def asking(framing: bytes, start: bytes = b"POST /a HTTP/1.1") -> list[Piece]:
    """Return a request that asks for an upgrade and has this framing and body."""
    return [
        (start + b"\r\nhost: x\r\n", False),
        (b"connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAEA\r\nupgrade: h2c\r\n", True),
        (framing, False),
    ]


def cut(pieces: list[Piece], at: list[int]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the bytes cut at these places, and likewise what is left of each part without those of an upgrade.

    Where nothing is left of a part there is no cut, so that both come in as many parts.
    """
    data = b"".join(part for part, _ in pieces)
    kept = [not upgrade for part, upgrade in pieces for _ in part]
    ends = [0]
    for end in [*sorted(set(at) - {0}), len(data)]:
        if any(kept[ends[-1] : end]):
            ends.append(end)
    parts = [slice(*each) for each in itertools.pairwise(ends)]
    without = [bytes(itertools.compress(data[part], kept[part])) for part in parts]
    return tuple(data[part] for part in parts), tuple(without)


def unasked(seen: tuple[list[Any], bytes, bool]) -> tuple[list[Any], bytes, bool]:
    """Return an outcome without the headers of upgrades."""
    for scope, _ in seen[0]:
        scope["headers"] = [
            (name, value)
            for name, value in scope["headers"]
            if name not in (b"upgrade", b"http2-settings") and not value.startswith(b"Upgrade")
        ]
    return seen


async def same(pieces: list[Piece], at: list[int], *, reads: bool = True) -> None:
    """Assert that the upgrade makes no difference."""
    asked, plain = cut(pieces, at)
    got = unasked(await outcome(asked, quick=True, reads=reads))
    assert got == await outcome(plain, quick=False, reads=reads), asked


@pytest.mark.parametrize("request_", [JAVA, JAVA_CHUNKED], ids=["length", "chunks"])
async def test_a_java_client_is_served_wherever_its_bytes_are_cut(request_: bytes) -> None:
    whole = request_ + GET
    for at in range(1, len(whole)):
        seen, written, closing = await outcome((whole[:at], whole[at:]), quick=True)
        assert [body for _, body in seen] == [b'{"messages":[]}', b""]
        assert [scope["path"] for scope, _ in seen] == ["/v1/chat/completions", "/next"]
        assert written.count(b"HTTP/1.1 200") == 2
        assert not closing


@pytest.mark.parametrize("reads", [True, False], ids=["body read", "body left"])
@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS.keys())
async def test_a_body_is_read_by_its_framing_whole_and_byte_by_byte(framing: bytes, reads: bool) -> None:
    pieces = [*asking(framing), (POST, False)]
    size = sum(len(part) for part, _ in pieces)
    await same(pieces, [], reads=reads)
    await same(pieces, list(range(size)), reads=reads)


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1", b"POST /?q HTTP/1.0", b"DELETE /%20 HTTP/1.1"])
async def test_whatever_the_request(start: bytes) -> None:
    await same([*asking(b"content-length: 2\r\n\r\nhi", start), (GET, False)], [])


async def test_many_that_ask_at_once_are_answered_in_their_order() -> None:
    seen, written, _ = await outcome((JAVA * 12,), quick=True)
    assert (len(seen), written.count(b"HTTP/1.1 200")) == (12, 12)


async def test_a_request_behind_one_without_a_body_is_not_swallowed() -> None:
    upgrade = b"GET /first HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    seen, written, _ = await outcome((upgrade + GET, POST), quick=True)
    assert [scope["path"] for scope, _ in seen] == ["/first", "/next", "/then"]
    assert written.count(b"HTTP/1.1 200") == 3


async def test_a_tunnel_is_refused_and_nothing_behind_it_is_a_request() -> None:
    seen, written, closing = await outcome((b"CONNECT / HTTP/1.1\r\nhost: x\r\n\r\n" + GET, GET), quick=True)
    assert seen == []
    assert written.startswith(b"HTTP/1.1 400")
    assert closing


@given(
    framings=st.lists(st.sampled_from([*FRAMINGS.values()]), min_size=1, max_size=3),
    plain=st.booleans(),
    reads=st.booleans(),
    at=st.lists(st.integers(0, 800), max_size=8),
)
@settings(max_examples=examples(800), deadline=None)
def test_an_upgrade_makes_no_difference(framings: list[bytes], plain: bool, reads: bool, at: list[int]) -> None:
    pieces = [piece for framing in framings for piece in [*asking(framing), *([(POST, False)] * plain)]]
    size = sum(len(part) for part, _ in pieces)
    asyncio.run(same(pieces, [each % size for each in at], reads=reads))
