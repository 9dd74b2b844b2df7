"""uvicorn's HTTP/1.1 protocol, but what is not HTTP is refused in OpenAI's error shape."""

from __future__ import annotations

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.context import new_request_id
from gateway.errors import InvalidRequest


class GatewayHttpProtocol(HttpToolsProtocol):
    """One connection of a client."""

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and close: nothing that follows on this connection can be trusted."""
        del msg
        error = InvalidRequest("The request is not valid HTTP.", code="invalid_http")
        body = orjson.dumps(error.envelope())
        head = [
            b"HTTP/1.1 400 Bad Request",
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"x-request-id: " + new_request_id().encode(),
            *(name + b": " + value for name, value in error.response_headers()),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + body)
        self.transport.close()
