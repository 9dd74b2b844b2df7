"""A message that has come whole, told from its bytes."""

from __future__ import annotations

import pytest

from gateway.whole_message import whole_message

HEAD = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nhost: x\r\n\r\n"


def test_its_head_comes_apart_at_the_length() -> None:
    before, behind, digits, body = whole_message(HEAD + b"hello") or pytest.fail("it is whole")
    assert (before, digits, body) == (b"POST / HTTP/1.1\r\nContent-Length: ", b"5", b"hello")
    assert before + digits + behind == HEAD


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(HEAD[:-2], id="half a head"),
        pytest.param(HEAD + b"hell", id="half a body"),
        pytest.param(HEAD + b"hello!", id="more than it"),
        pytest.param(b"POST / HTTP/1.1\r\nhost: x\r\n\r\n", id="no length"),
        pytest.param(b"POST / HTTP/1.1\r\n\r\nContent-Length: 0\r\n\r\n", id="a length in the body"),
        pytest.param(HEAD.replace(b"5", b"+5") + b"hello", id="a sign"),
        pytest.param(HEAD.replace(b"5", b"5 ") + b"hello", id="a space"),
        pytest.param(HEAD.replace(b"5", b"") + b"hello", id="no digits"),
        pytest.param(HEAD.replace(b"5", b"000000005") + b"hello", id="many digits"),
        pytest.param(HEAD.replace(b"5", "\u0665".encode()) + b"hello", id="digits of another script"),
        pytest.param(b"POST /" + b"x" * 5000 + HEAD + b"hello", id="a large head"),
    ],
)
def test_anything_else_is_none(data: bytes) -> None:
    assert whole_message(data) is None
