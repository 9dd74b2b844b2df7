"""The bytes before the body."""

from __future__ import annotations

import pytest

from gateway.domain import EngineRequest, Replica
from gateway.upstream.request_head import request_head

REPLICA = Replica("r", "engine", 8100)


def test_a_head_has_host_length_and_the_given_headers() -> None:
    request = EngineRequest("POST", "/v1/x", b"body", (("x-request-id", "req_1"),))
    assert request_head(REPLICA, request) == (
        b"POST /v1/x HTTP/1.1\r\nhost: engine:8100\r\ncontent-length: 4\r\nx-request-id: req_1\r\n\r\n"
    )


def test_an_ipv6_address_is_bracketed() -> None:
    head = request_head(Replica("r", "::1", 1), EngineRequest("GET", "/", b""))
    assert b"\r\nhost: [::1]:1\r\n" in head


@pytest.mark.parametrize(
    "request_",
    [
        EngineRequest("POST", "/", b"", (("x", "a\r\ny: b"),)),
        EngineRequest("POST", "/", b"", (("x", "a\nb"),)),
        EngineRequest("POST", "/", b"", (("x\r\ny", "a"),)),
        EngineRequest("POST", "/", b"", (("x", "a\0"),)),
        EngineRequest("POST", "/", b"", (("x", "文"),)),
        EngineRequest("POST", "/ HTTP/1.1\r\nx: y", b""),
        EngineRequest("POST", "/\r\nx:y", b""),
        EngineRequest("POST", "/a b", b""),
        EngineRequest("PO ST", "/", b""),
        EngineRequest("HEAD", "/", b""),
        EngineRequest("CONNECT", "/", b""),
        EngineRequest("POST", "/", b"", (("Content-Length", "3"),)),
        EngineRequest("POST", "/", b"", (("transfer-encoding", "chunked"),)),
    ],
)
def test_what_would_change_the_framing_is_refused(request_: EngineRequest) -> None:
    with pytest.raises(ValueError):
        request_head(REPLICA, request_)
