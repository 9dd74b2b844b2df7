"""Requests that are taken without a parser are what the parser would have made of them."""

from __future__ import annotations

from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.plain_head import plain_request

PLAIN = b"POST /v1/x%20y?a=b HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nContent-Length: 2\r\nx-one: 2\r\n\r\nok"


class Parsed:
    """What httptools tells of the one request in some bytes."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Note what the parser forgets with the message's end."""
        self.start = (self.parser.get_method(), self.parser.get_http_version())
        self.keep_alive, self.upgrades = self.parser.should_keep_alive(), self.parser.should_upgrade()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self.body += body

    def on_message_complete(self) -> None:
        """Take the end."""
        assert not self.complete
        self.complete = True


def test_a_plain_request_has_target_headers_and_body() -> None:
    target, headers, body = plain_request(PLAIN) or pytest.fail("it is plain")
    assert target == ("/v1/x y", b"/v1/x%20y", b"a=b")
    assert headers == [(b"host", b"h"), (b"x-one", b"1"), (b"content-length", b"2"), (b"x-one", b"2")]
    assert body == b"ok"


def test_two_that_differ_in_length_have_their_own() -> None:
    longer = PLAIN.replace(b"Length: 2", b"Length: 12").replace(b"\r\n\r\nok", b"\r\n\r\nlonger by 10")
    for data, length, said in ((PLAIN, b"2", b"ok"), (longer, b"12", b"longer by 10"), (PLAIN, b"2", b"ok")):
        _, headers, body = plain_request(data) or pytest.fail("it is plain")
        assert (dict(headers)[b"content-length"], body) == (length, said)


def test_what_one_request_does_to_its_headers_is_not_seen_by_the_next() -> None:
    _, headers, _ = plain_request(PLAIN) or pytest.fail("it is plain")
    headers.clear()
    _, again, _ = plain_request(PLAIN) or pytest.fail("it is plain")
    assert len(again) == 4


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PLAIN.replace(b"POST", b"GET"), id="another method"),
        pytest.param(PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"), id="an older HTTP"),
        pytest.param(PLAIN.replace(b"X-One: 1", b"Connection: close"), id="a connection that is not kept"),
        pytest.param(PLAIN.replace(b"X-One: 1", b"Expect: 100-continue"), id="one that waits for a word"),
        pytest.param(PLAIN.replace(b"X-One: 1", b"Transfer-Encoding: chunked"), id="two framings"),
        pytest.param(PLAIN.replace(b"X-One: 1", b"Content-Length: 2"), id="the same length twice"),
        pytest.param(PLAIN.replace(b"X-One: 1", b"CONTENT-LENGTH: 9"), id="another length first"),
        pytest.param(PLAIN.replace(b"x-one: 2", b"CONTENT-LENGTH: 9"), id="another length last"),
        pytest.param(PLAIN.replace(b"X-One: 1", b"Connection: upgrade\r\nUpgrade: h2c"), id="an upgrade"),
        pytest.param(PLAIN.replace(b"X-One: 1", b" folded"), id="a folded header"),
        pytest.param(PLAIN.replace(b"X-One: 1", b"X-One: \0"), id="a zero"),
        pytest.param(PLAIN.replace(b"X-One", b"X One"), id="a name with a space"),
        pytest.param(PLAIN.replace(b"X-One: 1", b"X-One: a\nX: b\r"), id="a bare line feed"),
        pytest.param(PLAIN.replace(b"/v1/x%20y", b"http://["), id="a target that is none"),
        pytest.param(PLAIN.replace(b"/v1/x", "/\u00e9".encode()), id="a target that is not ASCII"),
        pytest.param(PLAIN.replace(b"X-One: 1", b"\r\n".join(b"a: b" for _ in range(201))), id="many headers"),
        pytest.param(PLAIN.replace(b"\r\n\r\nok", b"\r\n\r\nok" + PLAIN), id="two requests"),
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(data: bytes) -> None:
    assert plain_request(data) is None


LINES = st.sampled_from(
    [b"Host: h", b"X-A: b", b"x-a:c", b"X-B:   d  ", b"Connection: keep-alive", b"Connection: close", b"Expect: x",
     b"Content-Length: 3", b"content-length: 3", b"Content-length: 3", b"Content-Length:3", b"X: Content-Length: 3",
     b"Transfer-Encoding: chunked", b"Upgrade: x", b": x", b"x", b"\tx: y", b"X-L: a\nContent-Length: 3", b"X-C: \x80"]
)  # fmt: skip
STARTS = st.sampled_from(
    [b"POST / HTTP/1.1", b"POST /a?b HTTP/1.1", b"\r\nPOST / HTTP/1.1", b"POST http://h/p HTTP/1.1", b"GET / HTTP/1.1",
     b"POST / HTTP/1.0", b"POST * HTTP/1.1", b"POST  / HTTP/1.1", b"POST / HTTP/1.1 "]
)  # fmt: skip


@given(start=STARTS, lines=st.lists(LINES, max_size=6), body=st.sampled_from([b"abc", b"", b"ab", b"abcd", b"1\r\n"]))
def test_what_is_taken_is_what_the_parser_takes(start: bytes, lines: list[bytes], body: bytes) -> None:
    data = b"\r\n".join([start, *lines, b"", body])
    request: Any = plain_request(data)
    if request is None:
        return
    target, headers, said = request
    parsed = Parsed(data)
    assert parsed.complete
    assert (headers, said) == (parsed.headers, parsed.body)
    assert parsed.start == (b"POST", "1.1")
    assert (parsed.keep_alive, parsed.upgrades) == (True, False)
    assert target.raw_path == httptools.parse_url(parsed.url).path
