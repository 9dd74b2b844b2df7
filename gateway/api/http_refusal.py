"""What is answered to bytes that are no request."""

from __future__ import annotations

import orjson

from gateway.api.context import new_request_id
from gateway.errors import InvalidRequest


def refusal() -> bytes:
    """Return a whole answer, in OpenAI's error shape, that ends its connection."""
    error = InvalidRequest(
        "The request is not valid HTTP/1.1, its head is too large, or it asks for a tunnel.", code="invalid_http"
    )
    body = orjson.dumps(error.envelope())
    head = [
        b"HTTP/1.1 400 Bad Request",
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"x-request-id: " + new_request_id().encode(),
        *(name + b": " + value for name, value in error.response_headers()),
        b"connection: close",
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + body
