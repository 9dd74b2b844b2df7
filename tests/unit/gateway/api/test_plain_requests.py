"""Whether a request is taken without a parser is nobody's to notice: not the app's, not the client's."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.api import http_protocol, http_refusal
from gateway.api.http_protocol import GatewayHttpProtocol

ONE = b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
TWO = b"POST /a%20b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nx: y\r\n\r\ntwo.."
LAST = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
PATIENT = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"
DOUBTFUL = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\none"


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def close(self) -> None:
        """Note it."""
        self.closing = True

    def is_closing(self) -> bool:
        """Say whether it was closed."""
        return self.closing

    def get_extra_info(self, _: str, default: Any = None) -> Any:
        """Know nothing."""
        return default

    def pause_reading(self) -> None:
        """Go on."""

    def resume_reading(self) -> None:
        """Go on."""


async def outcome(chunks: tuple[bytes, ...], *, quick: bool, reads: bool = True) -> tuple[list[Any], bytes, bool]:
    """Return what the app saw of what came in these chunks, what was answered, and whether that was the end."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = reads
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        seen.append(({name: scope[name] for name in scope if name not in ("extensions", "state")}, body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, http=GatewayHttpProtocol, log_config=None, access_log=False, lifespan="off")
    config.load()
    state = ServerState()
    wire: Any = Wire()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_refusal, "new_request_id", lambda: "req_1")
        if not quick:
            patch.setattr(http_protocol, "plain_request", lambda _: None)
        connection = GatewayHttpProtocol(config, state, {})
        connection.connection_made(wire)
        for chunk in chunks:
            connection.data_received(chunk)
            for _ in range(4):
                await asyncio.sleep(0)
        for _ in range(40):
            await asyncio.sleep(0)
        closed = wire.closing
        connection.connection_lost(None)
        await asyncio.gather(*state.tasks)
    return seen, wire.written, closed


@pytest.mark.parametrize(
    "chunks",
    [
        *itertools.product(
            [ONE, TWO, LAST, GET, CHUNKED, UPGRADE, PATIENT, DOUBTFUL, b"\r\n", b"no HTTP\r\n"], repeat=2
        ),
        (ONE, TWO, ONE, GET, TWO, CHUNKED, ONE),
        (ONE + TWO, ONE),
        (ONE + ONE[:20], ONE[20:], ONE),
        (ONE[:20], ONE[20:], TWO),
        (ONE[:-1], ONE[-1:], ONE),
        (ONE[:-3], ONE[-3:], ONE),
        (ONE + b"\r\n", ONE),
        (b"\r\n" + ONE, TWO),
        (ONE, UPGRADE, ONE, ONE),
        # Within a head or a body, what looks like a request is none.
        (b"POST / HTTP/1.1\r\nHost: x\r\nX: ", ONE),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(ONE), ONE, TWO),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(ONE) + 1), ONE, b"!" + TWO),
        (CHUNKED[:-9], b"%x\r\n" % len(ONE), ONE, b"\r\n0\r\n\r\n", TWO),
        (b"\r\n" * 30_000, ONE) * 4,
        # A transport such as TLS may still have bytes when it was told to close.
        (b"no HTTP\r\n", ONE),
        (LAST, ONE),
    ],
)
@pytest.mark.parametrize("reads", [True, False], ids=["body read", "body left"])
async def test_it_is_served_as_the_parser_would_have_it(chunks: tuple[bytes, ...], reads: bool) -> None:
    assert await outcome(chunks, quick=True, reads=reads) == await outcome(chunks, quick=False, reads=reads)
