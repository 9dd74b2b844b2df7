"""Write a Reply to the client: the status held until there is something to say, pings meanwhile, one `[DONE]`."""

from __future__ import annotations

import asyncio

import orjson
from starlette.types import Send

from config import StreamSettings
from gateway.domain import Headers, Prompt
from gateway.errors import GatewayError
from gateway.reply import Reply
from gateway.settlement import Settlement

_DONE = b"data: [DONE]\n\n"
_PING = b": ping\n"
"""A comment with ONE line feed: with two, SDKs that have seen an `id:` line take it for an empty event."""

_STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class RelayResponse:
    """The response to one chat request. It owns nothing but the timer of its pings, which `close()` stops."""

    def __init__(self, send: Send, settings: StreamSettings, settlement: Settlement) -> None:
        self._send = send
        self._settings = settings
        self._settlement = settlement
        self._timer: asyncio.TimerHandle | None = None
        self._pinging: asyncio.Task[None] | None = None
        self._started = False
        self._last_sent = 0.0

    @property
    def started(self) -> bool:
        """Whether the status line has gone out."""
        return self._started

    def hold(self, prompt: Prompt) -> None:
        """Begin to count: a stream whose status is still held after first_ping_seconds gets 200 and a ping."""
        if prompt.stream:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._settings.first_ping_seconds, self._begin_pinging)

    async def send(self, reply: Reply) -> None:
        """Send the whole reply. It is acknowledged (saved) before its last byte. Raises GatewayError before that."""
        if reply.body is not None:
            await reply.acknowledge()
            await self._send_body(200, reply.body, [(b"content-type", b"application/json"), *self._headers()])
            return
        while events := await reply.read():
            await self._send_part(events)
        await reply.acknowledge()
        await self._send_part(_DONE)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        await reply.finish()

    async def send_error(self, error: GatewayError) -> None:
        """Send the error: as the response, or as a last event without `[DONE]` where the stream has begun."""
        if self._started:
            event = b"data: " + orjson.dumps(error.envelope()) + b"\n\n"
            await self._send({"type": "http.response.body", "body": event, "more_body": False})
            return
        headers = [(b"content-type", b"application/json"), *self._headers(), *error.response_headers()]
        await self._send_body(error.status, orjson.dumps(error.envelope()), headers)

    def close(self) -> None:
        """Stop the pings."""
        if self._timer is not None:
            self._timer.cancel()
        if self._pinging is not None:
            self._pinging.cancel()

    async def _send_part(self, part: bytes) -> None:
        if not self._started:
            await self._start_stream()
        self._last_sent = asyncio.get_running_loop().time()
        await self._send({"type": "http.response.body", "body": part, "more_body": True})

    async def _start_stream(self) -> None:
        self._started = True
        headers = [*_STREAM_HEADERS, *self._headers()]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _send_body(self, status: int, body: bytes, headers: Headers) -> None:
        self._started = True
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _headers(self) -> Headers:
        settlement = self._settlement
        headers = list(settlement.headers)
        if settlement.replica:
            headers.append((b"x-gateway-replica", settlement.replica.encode()))
        if settlement.session_id:
            headers.append((b"x-session-id", settlement.session_id.encode()))
        return headers

    def _begin_pinging(self) -> None:
        self._pinging = asyncio.get_running_loop().create_task(self._ping())

    async def _ping(self) -> None:
        """Ping whenever nothing was sent for a while. Events are sent whole, so a ping never falls inside one."""
        loop = asyncio.get_running_loop()
        while True:
            quiet_seconds = loop.time() - self._last_sent
            if not self._started or quiet_seconds >= self._settings.ping_seconds:
                await self._send_part(_PING)
                quiet_seconds = 0.0
            await asyncio.sleep(self._settings.ping_seconds - quiet_seconds)
