"""What is written down when a request ends: metrics and one log line, exactly once, however it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from gateway.domain import Asked, Caller, Clock, Headers, Outcome, Replica, RequestId, Usage
from gateway.errors import EngineFailure, EngineTimedOut, GatewayError, StoreDown
from gateway.telemetry.last_errors import FailedRequest
from gateway.telemetry.logging import RequestLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Trace

_STATUS_OK = 200
_STATUS_FAULT = 500
_STATUS_CLIENT_GONE = 499
"""nginx's number for a request whose client left before a status was sent; for the log and metrics only."""


@dataclass(slots=True)
class Settlement:
    """The account of one request, opened at its first byte and closed once after its last.

    The rooms fill in what they learn; nobody but `close()` reports it. It holds no resource: places, permits and
    engine connections are released by the exit stack that owns them.
    """

    request_id: RequestId
    method: str
    path: str
    started: float
    metrics: Metrics
    log: RequestLog
    clock: Clock
    client_request_id: str | None = None
    trace: Trace | None = None
    route: str = "other"
    caller: Caller | None = None
    model: str = "unknown"
    replica: str | None = None
    session_id: str | None = None
    stream: bool = False
    sent: bool = False
    status: int = 0
    outcome: Outcome = Outcome.OK
    error_code: str | None = None
    attempts: int = 0
    usage: Usage | None = None
    first_token_seconds: float | None = None
    last_token_seconds: float | None = None
    headers: Headers = field(default_factory=list)
    closed: bool = False

    @property
    def elapsed_seconds(self) -> float:
        """Since the request's head."""
        return self.clock() - self.started

    @property
    def traceparent(self) -> str | None:
        """What the engine is told of the request's trace, None without one."""
        return self.trace.ids.traceparent if self.trace else None

    @property
    def is_answered(self) -> bool:
        """Whether the client was sent a status, whichever."""
        return self.status not in (0, _STATUS_CLIENT_GONE)

    def is_begun(self) -> bool:
        """Whether the client was told that it gets an answer, and of which session."""
        return self.status == _STATUS_OK

    def asked(self, asked: Asked) -> None:
        """Note what the request is about; from here on the model is one that is served."""
        self.model = asked.model
        self.stream = asked.stream
        self.session_id = asked.session_id

    def placed(self, replica: Replica) -> None:
        """Note the engine that is asked."""
        self.replica = replica.name
        self.sent = True
        self.attempts += 1

    def not_sent(self) -> None:
        """Note that no engine has got the request after all."""
        self.sent = False

    def retried(self, failure: EngineFailure) -> None:
        """Count a second try at another engine."""
        self.metrics.retries.labels(type(failure).__name__).inc()

    def first_token(self) -> None:
        """Note that content is here for the first time."""
        if self.first_token_seconds is None:
            self.first_token_seconds = self.elapsed_seconds
            self.metrics.first_token_seen(self.model, self.first_token_seconds)

    def last_token(self) -> None:
        """Note that the engine has said all of its answer."""
        self.last_token_seconds = self.elapsed_seconds

    def failed(self, error: GatewayError) -> None:
        """Note the error that the client was, or would have been, told.

        Whose answer was begun and could not be kept was not refused.
        """
        self.error_code = error.code or error.type
        if isinstance(error, EngineTimedOut):
            self.outcome = Outcome.TIMED_OUT
        elif isinstance(error, EngineFailure):
            self.outcome = Outcome.UPSTREAM_FAILED
        elif error.status == _STATUS_FAULT or (isinstance(error, StoreDown) and self.is_begun()):
            self.outcome = Outcome.FAILED
        else:
            self.outcome = Outcome.REFUSED

    def client_gone(self, close_seconds: float) -> None:
        """Note that the client left, and how long it took until nothing of its request was held any more."""
        self.outcome = Outcome.CLIENT_GONE
        self.status = self.status or _STATUS_CLIENT_GONE
        self.metrics.cancel_to_close.labels(self._phase).observe(close_seconds)

    @property
    def _phase(self) -> str:
        if self.first_token_seconds is not None:
            return "answering"
        return "before_first_token" if self.sent else "queued"

    def close(self) -> None:
        """Report, the first time; do nothing the second."""
        if self.closed:
            return
        self.closed = True
        duration_seconds = self.elapsed_seconds
        tenant = self.caller.tenant if self.caller else "none"
        self.metrics.request_ended(self.route, tenant, self.model, self.status, self.outcome, duration_seconds)
        if self.usage is not None:
            self.metrics.tokens_used(tenant, self.model, self.usage)
            self._observe_pace(self.usage)
        elif self.sent and self.outcome is not Outcome.REFUSED:
            self.metrics.unmetered.labels(self.model).inc()
        if self.error_code is not None and self.caller is not None:
            self._note_error(self.error_code, self.caller)
        self._log(tenant, duration_seconds)

    def _observe_pace(self, usage: Usage) -> None:
        """Once a stream, and not once a chunk: what a chunk costs is paid a hundred times a request."""
        if self.stream and self.first_token_seconds is not None and self.last_token_seconds is not None:
            streamed_seconds = self.last_token_seconds - self.first_token_seconds
            self.metrics.stream_ended(self.model, streamed_seconds, usage.completion_tokens)

    def _note_error(self, code: str, caller: Caller) -> None:
        failed = FailedRequest(
            at=time.time(),
            request_id=self.request_id,
            route=self.route,
            tenant=caller.tenant,
            model=self.model,
            replica=self.replica,
            status=self.status,
            outcome=self.outcome,
            code=code,
        )
        self.metrics.last_errors.note(failed)

    def _log(self, tenant: str, duration_seconds: float) -> None:
        usage = self.usage
        fields = {
            "request_id": self.request_id,
            "client_request_id": self.client_request_id,
            "method": self.method,
            "path": self.path,
            "tenant": tenant,
            "user": self.caller.user if self.caller else None,
            "model": self.model,
            "replica": self.replica,
            "session_id": self.session_id,
            "stream": self.stream,
            "status": self.status,
            "outcome": f"{self.outcome}",
            "error": self.error_code,
            "attempts": self.attempts,
            "time_to_first_token_seconds": _rounded(self.first_token_seconds),
            "duration_seconds": _rounded(duration_seconds),
            "prompt_tokens": usage.prompt_tokens if usage else None,
            "completion_tokens": usage.completion_tokens if usage else None,
            "cached_tokens": usage.cached_tokens if usage else None,
        }
        quiet = self.path.startswith(("/health", "/metrics")) and self.outcome is Outcome.OK
        self.log.write(fields, quiet=quiet, at_once=self.outcome is Outcome.FAILED)
        if self.trace is not None and not quiet:
            self.trace.end(fields, duration_seconds)


def _rounded(seconds: float | None) -> float | None:
    """Return whole microseconds; `round` takes twice as long."""
    return None if seconds is None else int(seconds * 1e6 + 0.5) / 1e6
