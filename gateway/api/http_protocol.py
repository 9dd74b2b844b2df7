"""uvicorn's HTTP/1.1 protocol with bounds on a request's head, and refusals in OpenAI's error shape."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn._types import HTTPScope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.http_cycle import GatewayCycle
from gateway.api.http_refusal import refusal
from gateway.api.lazily import NOT_MADE_YET, NOT_USED, LazyEvent, LazyFlow, request_parser
from gateway.api.plain_head import PlainRequest, Target, plain_request, target_of
from gateway.api.upgrade import feed
from gateway.api.watch import CLIENT

_MAX_HEAD_BYTES = 65_536
_MAX_HEADERS = 200
_MAX_UNSEEN_BYTES = 2 * _MAX_HEAD_BYTES
_MAX_WAITING = 16
"""Requests sent ahead of the answer to another (RFC 9112, section 9.3.2). Each costs memory before it is looked at."""
_MAX_WAITING_BYTES = 1_048_576
"""Of bodies of such requests. More is dropped, and the connection closed after the answers before it."""
_HEAD_SECONDS = 30.0


class GatewayHttpProtocol(HttpToolsProtocol):
    """One connection of a client.

    What is raised in a callback of the parser ends as `send_400_response`, and the connection with it.
    """

    # Not in the instance's dictionary, which above thirty members takes five times the memory.
    __slots__ = (
        "_ahead", "_cycles", "_drops", "_head_bytes", "_head_timer", "_idle_since", "_idle_timer", "_in_body",
        "_in_head", "_unseen_bytes", "_waiting_bytes",
    )  # fmt: skip
    cycle: GatewayCycle

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.parser = NOT_MADE_YET
        self.pipeline = NOT_USED
        self._ahead: list[GatewayCycle] = []
        """Requests that wait for the answers before theirs."""
        self._head_bytes = self._unseen_bytes = self._waiting_bytes = 0
        self._in_head = self._in_body = self._drops = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None
        self._cycles: tuple[GatewayCycle, ...] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self.flow = LazyFlow(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request under way; uvicorn tells only the latest, which of pipelined ones is not the running."""
        super().connection_lost(exc)
        self._stop_waiting()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for cycle in self._cycles:
            cycle.lost()

    def data_received(self, data: bytes) -> None:
        """Take bytes, but not without end what the parser keeps to itself: a header, a trailer, a chunk's extension."""
        request = plain_request(data) if self._between_requests else None
        if request is not None:
            self._take(request)
            return
        self._unseen_bytes += len(data)
        self._idle_since = None
        if self.parser is NOT_MADE_YET:
            self.parser = request_parser(self)
        if not feed(self, data):
            self.send_400_response("")
        if self.transport.is_closing():
            return
        if self._unseen_bytes > _MAX_UNSEEN_BYTES:
            self.send_400_response("")
        elif self._head_timer is None and (self._in_head or self.cycle is None or self.cycle.response_complete):
            # What came is less than a head, or the rest of a body that nobody wants: no other timer runs now.
            self._await_head()

    def on_message_begin(self) -> None:
        """Count a new head."""
        self._head_bytes = 0
        if self._in_body:
            return
        super().on_message_begin()
        self._in_head = True
        self._stop_waiting()

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer is left out (RFC 9110, section 6.5.1): it would pass by whoever checks headers."""
        self._count(len(name) + len(value))
        if self._in_body:
            return
        if len(self.headers) >= _MAX_HEADERS:
            raise ValueError("too many headers")
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the request. What asks for a tunnel is none: what its client sends next may be no HTTP."""
        if self._in_body:
            return
        self._in_head = False
        self._stop_waiting()
        if self._drops:
            self._in_body = True
            return
        version, method = self.parser.get_http_version(), self.parser.get_method().decode("ascii")
        if method == "CONNECT":
            raise ValueError("a tunnel")
        scope = self._scope(method, version, target_of(self.url), self.headers)
        self._in_body = True
        before = self._cycles
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        cycle = self.cycle = self._new_cycle(scope, keep_alive=keep_alive)
        self._cycles = (*(each for each in before if not each.response_complete), cycle)
        if len(self._cycles) == 1:
            self._start_asgi_task(cycle, self.app)
        elif len(self._ahead) < _MAX_WAITING:
            # It waits for those before it. Reading goes on, as who does not read does not hear of the client's end.
            self._ahead.append(cycle)
        else:
            raise ValueError("too many requests ahead of their answers")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; of a request that has to wait too, or its client's end would not be heard of."""
        self._unseen_bytes = 0
        if self._drops:
            return
        if not self._ahead:
            super().on_body(body)
            return
        self._waiting_bytes += len(body)
        self.cycle.body += body
        if self._waiting_bytes > _MAX_WAITING_BYTES:
            self._drop_waiting()

    def on_message_complete(self) -> None:
        """Take the end of a request; not of one whose body comes yet, though the parser expects an upgrade."""
        if self.parser.should_upgrade():
            return
        self._in_body = False
        if not self._drops:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin with the request that waits, or wait for another."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._ahead:
            cycle = self._ahead.pop(0)
            self._waiting_bytes -= len(cycle.body)
            self._start_asgi_task(cycle, self.app)
        else:
            self._await_request()

    @property
    def _between_requests(self) -> bool:
        """Whether the next byte begins a request that nothing keeps from being served at once."""
        idle = self.cycle is None or self.cycle.response_complete
        return idle and not (self._in_head or self._in_body or self._drops or self.transport.is_closing())

    def _take(self, request: PlainRequest) -> None:
        """Serve a request that has come whole, and past the parser, which is where it would be after it."""
        self._stop_waiting()
        self._idle_since = None
        self._unseen_bytes = 0
        self.expect_100_continue = False
        target, headers, body = request
        cycle = self.cycle = self._new_cycle(self._scope("POST", "1.1", target, headers), keep_alive=True)
        cycle.body += body
        cycle.more_body = False
        cycle.message_event.set()
        self._cycles = (cycle,)
        self._start_asgi_task(cycle, self.app)

    def _scope(self, method: str, version: str, target: Target, headers: list[tuple[bytes, bytes]]) -> HTTPScope:
        path, raw_path, query_string = target
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "root_path": self.root_path,
            "method": method,
            "path": path,
            "raw_path": raw_path,
            "query_string": query_string,
            "headers": headers,
            "state": self.app_state.copy(),
        }

    def _new_cycle(self, scope: HTTPScope, *, keep_alive: bool) -> GatewayCycle:
        # By position, as everything that is made for each request: by name it takes twice as long.
        cycle = GatewayCycle(
            self.loop,
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            False,
            [],
            LazyEvent(),
            self.expect_100_continue,
            keep_alive,
            self.on_response_complete,
        )
        extensions: dict[str, Any] = {CLIENT: cycle}
        scope["extensions"] = extensions
        return cycle

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be taken, and close: nothing that follows on this connection can be trusted.

        A request still to be answered gets this: bytes too many may be its own, by too short a length. Without a word
        where it would stand within an answer, after one that is complete, or for the first of several.
        """
        del msg
        if self._may_answer():
            self.transport.write(refusal())
        self.transport.close()

    def _may_answer(self) -> bool:
        pending = [each for each in self._cycles if not each.response_complete]
        if not pending:
            return not self._in_body
        return len(pending) == 1 and not pending[0].response_started

    def _drop_waiting(self) -> None:
        """Answer what is under way, drop what waits, and close: who is told so may send the dropped again.

        https://www.rfc-editor.org/rfc/rfc9112#section-9.6
        """
        self._drops = True
        self._ahead.clear()
        self.cycle = next(each for each in self._cycles if not each.response_complete)
        self.cycle.keep_alive, self.cycle.lingers = False, True
        self._cycles = (self.cycle,)

    def _count(self, size: int) -> None:
        self._unseen_bytes = 0
        self._head_bytes += size
        if self._head_bytes > _MAX_HEAD_BYTES:
            raise ValueError("the head is too large")

    def _await_request(self) -> None:
        """Be idle from now on. One timer does for all requests of a connection: it looks at the clock."""
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._look_whether_idle)

    def _look_whether_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is None:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._look_whether_idle)
        else:
            self.timeout_keep_alive_handler()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._give_up_waiting)

    def _give_up_waiting(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            # Half a head behind a request that is under way, which is not to be cut for it.
            self._await_head()

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
