"""The outermost layer of ours: the request's id and clock, the headers of every response, the one log line."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.domain import HeaderMap, Headers, Outcome, RequestId
from gateway.settlement import Settlement
from gateway.telemetry.logging import RequestLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Tracer

_SAFE_ID = re.compile(r"[\x21-\x7e]{1,128}")


def new_request_id() -> RequestId:
    """Return an id of our own; a client's is echoed but never used, so it can neither collide nor be guessed."""
    return next(request_ids(1))


def request_ids(at_once: int = 64) -> Iterator[RequestId]:
    """Yield such ids without end; so many are drawn at once, as each drawing is a system call."""
    while True:
        drawn = os.urandom(at_once * 16).hex()
        for at in range(0, len(drawn), 32):
            yield RequestId(f"req_{drawn[at : at + 32]}")


class RequestContextMiddleware:
    """Opens the request's Settlement in `scope["state"]["settlement"]` and closes it when the response has ended."""

    def __init__(self, app: ASGIApp, metrics: Metrics, log: RequestLog, tracer: Tracer | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._log = log
        self._tracer = tracer
        self._ids = request_ids()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: HeaderMap = dict(scope["headers"])
        settlement = self._open(scope, headers)
        # A copy: the server's own state is one dictionary for all requests. `send` is the server's own, for the parts
        # of a stream: after its head no layer has anything to add to them.
        scope["state"] = {**scope.get("state", {}), "settlement": settlement, "headers": headers, "send": send}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                settlement.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_context_headers(settlement)]
            await send(message)

        self._metrics.serving += 1
        try:
            await self._app(scope, receive, send_with_headers)
        except BaseException:
            settlement.outcome = Outcome.FAILED
            raise
        finally:
            # The server's side of a request knows this scope: a circle that only the collector could take apart.
            del scope["state"]["send"]
            scope.pop("extensions", None)
            self._metrics.serving -= 1
            if settlement.route == "other":
                settlement.route = getattr(scope.get("route"), "path", "other")
            settlement.close()

    def _open(self, scope: Scope, headers: HeaderMap) -> Settlement:
        clock = time.perf_counter
        return Settlement(
            next(self._ids),
            scope["method"],
            scope["path"],
            clock(),
            self._metrics,
            self._log,
            clock,
            _client_request_id(headers),
            self._tracer.begin(headers.get(b"traceparent")) if self._tracer else None,
        )


def _context_headers(settlement: Settlement) -> Headers:
    seconds = settlement.elapsed_seconds
    headers = [
        (b"x-request-id", settlement.request_id.encode()),
        (b"x-process-time", b"%.6f" % seconds),
        (b"openai-processing-ms", b"%.0f" % (seconds * 1000)),
        (b"x-content-type-options", b"nosniff"),
    ]
    if settlement.client_request_id:
        headers.append((b"x-client-request-id", settlement.client_request_id.encode()))
    return headers


def _client_request_id(headers: HeaderMap) -> str | None:
    given = headers.get(b"x-client-request-id") or headers.get(b"x-request-id")
    if given is None:
        return None
    text = given.decode("latin-1")
    return text if _SAFE_ID.fullmatch(text) else None
