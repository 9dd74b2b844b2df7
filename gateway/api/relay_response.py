"""Write a Reply to the client: the status held until there is something to say, pings meanwhile, one end."""

from __future__ import annotations

import asyncio

import orjson
from starlette.types import Send

from config import StreamSettings
from gateway.api.answer_shape import AS_IT_IS, AnswerShape, EventSource
from gateway.api.watch import Client
from gateway.domain import Headers, Prompt
from gateway.errors import GatewayError
from gateway.reply import Reply
from gateway.settlement import Settlement
from gateway.upstream import WholeAnswer

_PING = b": ping\n"
"""A comment with ONE line feed: with two, SDKs that have seen an `id:` line take it for an empty event."""

_STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class RelayResponse:
    """The response to one chat request. It owns nothing but the timer of its pings, which `close()` stops.

    `send` is the application's, for the head; `send_part` the server's own, for what follows a stream's head. Where
    the server knows its `client`, ordinary chunks go to it `straight` from the engine's socket.
    """

    def __init__(
        self,
        send: Send,
        send_part: Send,
        client: Client | None,
        settings: StreamSettings,
        settlement: Settlement,
        shape: AnswerShape = AS_IT_IS,
        *,
        straight: bool = True,
    ) -> None:
        self._send = send
        self._send_part = send_part
        self._client = client
        self._straight = straight and client is not None
        self._settings = settings
        self._settlement = settlement
        self._shape = shape
        # From whom knows it: to find it out asyncio asks for the process's number, a system call for each request.
        self._loop = asyncio.get_running_loop() if client is None else client.loop
        self._timer: asyncio.TimerHandle | None = None
        self._pinging: asyncio.Task[None] | None = None
        self._started = False
        self._last_sent = 0.0
        self._sending_since: float | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._sender: asyncio.Task[None] | None = None
        self.stalled = False
        """Whether the client took nothing for so long that its request was ended."""
        self.finished = False
        """Whether the last byte was handed to the server."""

    def hold(self, prompt: Prompt) -> None:
        """Begin to count: a stream whose status is still held after first_ping_seconds gets 200 and a ping."""
        if prompt.stream:
            self._timer = self._loop.call_later(self._settings.first_ping_seconds, self._begin_pinging)

    async def send(self, reply: Reply) -> None:
        """Send the whole reply. It is acknowledged (saved) before its last byte. Raises GatewayError before that."""
        if isinstance(reply.answer, WholeAnswer):
            await self._keep(reply)
            kind, body = self._shape.whole(reply.answer)
            await self._send_body(200, body, self._headers(), kind)
            return
        await self._send_events(self._shape.streamed(reply.answer))
        await self._keep(reply)
        await self._end_stream(self._shape.done())
        await reply.finish()

    async def send_error(self, error: GatewayError) -> None:
        """Send the error: as the response, or as a last event, and no end mark, where the stream has begun."""
        error = self._shape.named(error)
        if self._started:
            await self._end_stream(self._shape.failed(error))
        else:
            headers = [*self._headers(answers=False), *error.response_headers()]
            await self._send_body(error.status, orjson.dumps(error.envelope()), headers)

    def close(self) -> None:
        """Stop the pings."""
        if self._timer is not None:
            self._timer.cancel()
        if self._pinging is not None:
            self._pinging.cancel()
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    async def _keep(self, reply: Reply) -> None:
        """Have the answer kept wherever it is to be, before its client is told that it is whole."""
        await reply.acknowledge()
        if self._shape.keeps:
            await self._shape.keep(reply.answer)

    async def _send_events(self, answer: EventSource) -> None:
        """The hot loop: once a chunk. A slow client blocks the send, and so the reading from the engine."""
        send_part, time = self._send_part, self._loop.time
        self._begin_watching_for_stall()
        while events := await answer.read():
            self._last_sent = self._sending_since = time()
            if not self._started:
                await self._start_stream()
            await send_part({"type": "http.response.body", "body": events, "more_body": True})
            self._sending_since = None
            if self._straight:
                await answer.pump(self._push)

    def _push(self, events: bytes) -> bool:
        self._last_sent = self._loop.time()
        return self._client is not None and self._client.push(events)

    def ended_stalling(self) -> None:
        """Take back the cancellation by which a stalled request was ended, once it has had its effect."""
        if self._sender is not None:
            self._sender.uncancel()

    def _begin_watching_for_stall(self) -> None:
        """To be called by the one task that sends the answer or the error, any number of times."""
        if self._sender is None:
            self._sender = asyncio.current_task()
            self._watch_for_stall()

    def _watch_for_stall(self) -> None:
        """End the request of a client that takes nothing: blocked in a send, it would keep its place for ever."""
        limit_seconds = self._settings.client_timeout_seconds
        since = self._sending_since
        waited_seconds = 0.0 if since is None else self._loop.time() - since
        if waited_seconds >= limit_seconds and self._sender is not None:
            self.stalled = True
            self._sender.cancel()
            return
        self._stall_timer = self._loop.call_later(limit_seconds - waited_seconds, self._watch_for_stall)

    async def _start_stream(self) -> None:
        self._started = True
        headers = [*_STREAM_HEADERS, *self._headers()]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _end_stream(self, last: bytes) -> None:
        # The last bytes wait for the client like all others: everything is held until they are out.
        self._begin_watching_for_stall()
        self._sending_since = self._loop.time()
        if not self._started:
            await self._start_stream()
        self.finished = True
        await self._send_part({"type": "http.response.body", "body": last})
        self._sending_since = None

    async def _send_body(self, status: int, body: bytes, headers: Headers, kind: bytes = b"application/json") -> None:
        self._started = self.finished = True
        client = self._client
        if client is None or client.blocked:
            # A client that has not taken the answers before this one, on the same connection, is waited for here.
            self._begin_watching_for_stall()
            self._sending_since = self._loop.time()
        head = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send_part({"type": "http.response.body", "body": body})
        self._sending_since = None

    def _headers(self, *, answers: bool = True) -> Headers:
        """A session is named where there is an answer: one that was made for nothing is gone again."""
        settlement = self._settlement
        headers = list(settlement.headers)
        if settlement.replica:
            headers.append((b"x-gateway-replica", settlement.replica.encode()))
        if settlement.session_id and answers:
            headers.append((b"x-session-id", settlement.session_id.encode()))
        return headers

    def _begin_pinging(self) -> None:
        self._pinging = self._loop.create_task(self._ping())

    async def _ping(self) -> None:
        """Ping whenever nothing was sent for a while. Events are sent whole, so a ping never falls inside one.

        A client that takes nothing gets no ping: one that waits for it could come after the end, or before the head.
        """
        while not self.finished:
            quiet_seconds = self._loop.time() - self._last_sent
            if self._client is not None and self._client.blocked:
                quiet_seconds = 0.0
            elif not self._started or quiet_seconds >= self._settings.ping_seconds:
                if not self._started:
                    await self._start_stream()
                self._last_sent = self._loop.time()
                await self._send_part({"type": "http.response.body", "body": _PING, "more_body": True})
                quiet_seconds = 0.0
            await asyncio.sleep(self._settings.ping_seconds - quiet_seconds)
