"""An answer is the same whether it comes all at once, which spares the parser, or in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import EngineBroke, EngineFailure
from gateway.upstream.http_answer import HttpAnswer

PLAIN = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 5\r\nContent-Type: x\r\n\r\nhello"


@dataclass
class Fed:
    """An answer after some bytes, and what was raised for them."""

    answer: HttpAnswer
    error: type[EngineFailure] | None

    @property
    def state(self) -> tuple[Any, ...]:
        """All that anybody can tell of it: of one that failed, that it did."""
        if self.error is not None:
            return (self.error,)
        answer = self.answer
        said = (answer.status, dict(answer.headers), answer.buffered, answer.complete, answer.keep_alive)
        return (*said, answer.peek())


def fed(*parts: bytes) -> Fed:
    """Return an answer that was fed these."""
    answer = HttpAnswer()
    for part in parts:
        try:
            answer.feed(part)
        except EngineBroke as error:
            return Fed(answer, type(error))
    return Fed(answer, None)


def test_two_with_the_same_head_have_their_own_bodies_and_lengths() -> None:
    longer = PLAIN.replace(b"Length: 5", b"Length: 11") + b" world"
    for data, length, body in ((PLAIN, b"5", b"hello"), (longer, b"11", b"hello world"), (PLAIN, b"5", b"hello")):
        answer = fed(data).answer
        assert (answer.headers[b"content-length"], answer.take()) == (length, body)
        assert (answer.status, answer.complete, answer.keep_alive) == (200, True, True)


@pytest.mark.parametrize("surplus", [b"x", PLAIN, b"HTTP/1.1 200 OK\r\n"])
def test_what_comes_after_it_ends_the_connection(surplus: bytes) -> None:
    answer = fed(PLAIN, surplus).answer
    assert (answer.complete, answer.keep_alive, answer.take()) == (True, False, b"hello")


LINES = st.sampled_from(
    [b"Date: now", b"x-a:b", b"X-A:   c  ", b"Connection: close", b"Connection: keep-alive", b"Content-Length: 3",
     b"content-length: 3", b"CONTENT-LENGTH: 3", b"Content-Length: 4", b"X: Content-Length: 3", b"Upgrade: x",
     b"Transfer-Encoding: chunked", b"transfer-encoding: gzip", b"\tfolded: x", b"x", b": x", b"X-L: a\nb: c"]
)  # fmt: skip
STARTS = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.0 200 OK", b"HTTP/1.1 500 No", b"HTTP/1.1 204 OK",
     b"HTTP/1.1 101 Up", b"HTTP/1.1 100 Go on", b"HTTP/1.1 2000 OK", b"HTP/1.1 200 OK", b"\r\nHTTP/1.1 200 OK"]
)  # fmt: skip


@given(
    start=STARTS, lines=st.lists(LINES, max_size=5), body=st.sampled_from([b"abc", b"", b"ab", b"abcd", b"0\r\n\r\n"])
)
def test_at_once_or_byte_by_byte_it_is_the_same(start: bytes, lines: list[bytes], body: bytes) -> None:
    data = b"\r\n".join([start, *lines, b"", body])
    assert fed(data).state == fed(*(data[at : at + 1] for at in range(len(data)))).state


def test_a_part_of_a_body_that_looks_like_an_answer_is_none() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PLAIN) + 1)
    answer = fed(head, PLAIN).answer
    assert (answer.complete, answer.peek()) == (False, PLAIN)
    answer.feed(b"!")
    assert (answer.complete, answer.keep_alive, answer.take()) == (True, True, PLAIN + b"!")
