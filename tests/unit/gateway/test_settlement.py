"""A request's account: what is reported of it, once, however it ended."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from config import TelemetrySettings
from config.telemetry import LogLevel
from gateway.domain import Asked, Caller, Endpoint, Outcome, Replica, RequestId, Usage
from gateway.errors import (
    EngineBroke,
    EngineFailure,
    EngineRefused,
    EngineTimedOut,
    EngineUnreachable,
    Forbidden,
    GatewayError,
    InternalFault,
    InvalidRequest,
    Overloaded,
    RateLimited,
    StoreDown,
    Unauthenticated,
)
from gateway.settlement import Settlement
from gateway.telemetry.logging import RequestLog
from gateway.telemetry.metrics import Metrics

CHAT = "/v1/chat/completions"
REPLICA = Replica("engine-0", "h", 1)


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Account:
    """A settlement with everything that it reports to."""

    def __init__(self, path: str = CHAT, level: LogLevel = LogLevel.DEBUG) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.written = io.BytesIO()
        self.settlement = Settlement(
            request_id=RequestId("req_1"),
            method="POST",
            path=path,
            started=100.0,
            metrics=self.metrics,
            log=RequestLog(TelemetrySettings(log_level=level), self.written),
            clock=self.clock,
            route=path,
        )

    @property
    def line(self) -> dict[str, Any]:
        """The one line that was written."""
        (line,) = self.written.getvalue().splitlines()
        fields: dict[str, Any] = json.loads(line)
        assert datetime.fromisoformat(fields.pop("timestamp")).utcoffset() == timedelta(0)
        return fields

    def value(self, name: str, **labels: str) -> float:
        """Return a sample, 0 where there is none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def counted(self) -> float:
        """Return how many requests were counted, whatever their labels."""
        families = self.metrics.registry.collect()
        return sum(s.value for family in families for s in family.samples if s.name == "gateway_requests_total")

    def ask(self) -> None:
        """Bring the request to an engine."""
        self.settlement.caller = Caller("acme", "ann")
        self.settlement.asked(Asked(Endpoint.CHAT, "m", {}, stream=True, wants_usage=False, session_id="sess_1"))
        self.settlement.placed(REPLICA)


def test_an_answered_request_is_counted_and_logged_with_all_that_was_learned() -> None:
    account = Account()
    account.ask()
    account.clock.now = 100.25
    account.settlement.first_token()
    account.clock.now = 101.5
    account.settlement.status = 200
    account.settlement.usage = Usage(11, 4, 3)
    account.settlement.close()
    assert account.line == {
        "event": "request",
        "level": "info",
        "request_id": "req_1",
        "client_request_id": None,
        "method": "POST",
        "path": CHAT,
        "tenant": "acme",
        "user": "ann",
        "model": "m",
        "replica": "engine-0",
        "session_id": "sess_1",
        "stream": True,
        "status": 200,
        "outcome": "ok",
        "error": None,
        "attempts": 1,
        "time_to_first_token_seconds": 0.25,
        "duration_seconds": 1.5,
        "prompt_tokens": 11,
        "completion_tokens": 4,
        "cached_tokens": 3,
    }
    labels = {"route": CHAT, "tenant": "acme", "model": "m", "status": "2xx", "outcome": "ok"}
    assert account.value("gateway_requests_total", **labels) == 1
    assert account.value("gateway_request_duration_seconds_sum", route=CHAT, model="m") == 1.5
    assert account.value("gateway_time_to_first_token_seconds_sum", model="m") == 0.25
    assert account.value("gateway_tokens_total", tenant="acme", model="m", kind="completion") == 4
    assert account.metrics.last_errors.newest_first() == []
    assert account.value("gateway_unmetered_requests_total", model="m") == 0


def test_it_closes_once() -> None:
    account = Account()
    account.ask()
    account.settlement.usage = Usage(1, 1)
    for _ in range(3):
        account.settlement.close()
    assert account.counted() == 1
    assert account.value("gateway_tokens_total", tenant="acme", model="m", kind="prompt") == 1
    assert account.line["status"] == 0


def test_what_comes_after_closing_is_not_reported() -> None:
    account = Account()
    account.settlement.close()
    account.settlement.failed(InternalFault("x"))
    account.settlement.close()
    assert account.line["outcome"] == "ok"


def test_the_first_token_is_the_first() -> None:
    account = Account()
    account.ask()
    for now in (100.1, 100.2):
        account.clock.now = now
        account.settlement.first_token()
    account.settlement.close()
    assert account.line["time_to_first_token_seconds"] == 0.1
    assert account.value("gateway_time_to_first_token_seconds_count", model="m") == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidRequest("x"), Outcome.REFUSED),
        (Unauthenticated("x"), Outcome.REFUSED),
        (Forbidden("x"), Outcome.REFUSED),
        (RateLimited("x"), Outcome.REFUSED),
        (Overloaded("x"), Outcome.REFUSED),
        (StoreDown("x"), Outcome.REFUSED),
        (EngineFailure("x"), Outcome.UPSTREAM_FAILED),
        (EngineBroke("x"), Outcome.UPSTREAM_FAILED),
        (EngineRefused("x"), Outcome.UPSTREAM_FAILED),
        (EngineUnreachable("x"), Outcome.UPSTREAM_FAILED),
        (EngineTimedOut("x"), Outcome.TIMED_OUT),
        (InternalFault("x"), Outcome.FAILED),
        (GatewayError("x"), Outcome.FAILED),
    ],
)
def test_an_error_has_an_outcome_and_its_code(error: GatewayError, outcome: Outcome) -> None:
    account = Account()
    account.settlement.failed(error)
    account.settlement.status = error.status
    account.settlement.close()
    assert account.line["outcome"] == outcome.value
    assert account.line["error"] == (error.code or error.type)
    labels = {"route": CHAT, "tenant": "none", "model": "unknown", "status": f"{error.status // 100}xx"}
    assert account.value("gateway_requests_total", **labels, outcome=outcome.value) == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (StoreDown("x"), Outcome.FAILED),
        (Overloaded("x"), Outcome.REFUSED),
        (InvalidRequest("x"), Outcome.REFUSED),
        (EngineBroke("x"), Outcome.UPSTREAM_FAILED),
        (EngineTimedOut("x"), Outcome.TIMED_OUT),
    ],
)
def test_a_stream_that_was_begun_and_cut_was_not_refused(error: GatewayError, outcome: Outcome) -> None:
    account = Account()
    account.ask()
    account.settlement.status = 200
    account.settlement.failed(error)
    account.settlement.close()
    assert (account.line["status"], account.line["outcome"]) == (200, outcome.value)


def test_a_request_that_was_answered_without_usage_is_unmetered() -> None:
    account = Account()
    account.ask()
    account.settlement.status = 200
    account.settlement.close()
    assert account.value("gateway_unmetered_requests_total", model="m") == 1


def test_a_request_that_reached_no_engine_is_not_unmetered() -> None:
    account = Account()
    account.settlement.failed(RateLimited("x"))
    account.settlement.close()
    assert account.value("gateway_unmetered_requests_total", model="unknown") == 0


def test_usage_counts_though_the_answer_was_cut() -> None:
    account = Account()
    account.ask()
    account.settlement.usage = Usage(11, 2)
    account.settlement.failed(EngineBroke("cut"))
    account.settlement.close()
    assert account.value("gateway_tokens_total", tenant="acme", model="m", kind="completion") == 2
    assert account.line["outcome"] == "upstream_failed"


def test_a_second_try_is_counted_with_its_reason_and_the_last_engine_is_named() -> None:
    account = Account()
    account.ask()
    account.settlement.retried(EngineUnreachable("x"))
    account.settlement.placed(Replica("engine-1", "h", 2))
    account.settlement.close()
    assert account.value("gateway_retries_total", reason="EngineUnreachable") == 1
    assert (account.line["replica"], account.line["attempts"]) == ("engine-1", 2)


def _queued(account: Account) -> None:
    del account


def _sent(account: Account) -> None:
    account.ask()


def _answering(account: Account) -> None:
    account.ask()
    account.settlement.first_token()
    account.settlement.status = 200


@pytest.mark.parametrize(
    ("until", "phase", "status"),
    [(_queued, "queued", 499), (_sent, "before_first_token", 499), (_answering, "answering", 200)],
)
def test_a_client_that_leaves_is_noted_with_the_phase_and_the_time_to_close(
    until: Any, phase: str, status: int
) -> None:
    account = Account()
    until(account)
    account.settlement.client_gone(0.004)
    account.settlement.close()
    assert account.value("gateway_client_gone_to_close_seconds_count", phase=phase) == 1
    assert account.value("gateway_client_gone_to_close_seconds_sum", phase=phase) == 0.004
    assert (account.line["outcome"], account.line["status"]) == ("client_gone", status)


@pytest.mark.parametrize(
    ("path", "outcome", "level"),
    [
        ("/health", Outcome.OK, "debug"),
        ("/health/ready", Outcome.OK, "debug"),
        ("/metrics", Outcome.OK, "debug"),
        ("/health/ready", Outcome.FAILED, "info"),
        ("/health/detailed", Outcome.REFUSED, "info"),
        ("/v1/models", Outcome.OK, "info"),
        ("/v1/models", Outcome.FAILED, "info"),
        ("/", Outcome.OK, "info"),
    ],
)
def test_what_probes_ask_is_quiet_while_all_is_well(path: str, outcome: Outcome, level: str) -> None:
    account = Account(path)
    account.settlement.outcome = outcome
    account.settlement.close()
    assert account.line["level"] == level


def test_the_line_holds_nothing_of_what_was_said_or_of_a_credential() -> None:
    account = Account()
    account.ask()
    account.settlement.close()
    assert not {"body", "messages", "prompt", "content", "authorization", "headers", "error_message"} & set(
        account.line
    )


def test_time_passes_by_the_clock_that_was_given() -> None:
    account = Account()
    account.clock.now = 107.0
    assert account.settlement.elapsed_seconds == 7.0


@pytest.mark.parametrize(
    ("level", "path", "lines"),
    [
        (LogLevel.DEBUG, "/health", 1),
        (LogLevel.INFO, "/health", 0),
        (LogLevel.INFO, CHAT, 1),
        (LogLevel.WARNING, CHAT, 0),
    ],
)
def test_a_line_is_written_where_the_level_asks_for_it(level: LogLevel, path: str, lines: int) -> None:
    account = Account(path, level)
    account.settlement.close()
    assert account.written.getvalue().count(b"\n") == lines


def test_an_error_is_kept_for_whoever_looks_by_its_code_alone() -> None:
    account = Account()
    account.ask()
    account.settlement.status = 502
    account.settlement.failed(EngineBroke("The answer was cut, and it said: a secret."))
    account.settlement.close()
    [kept] = account.metrics.last_errors.newest_first()
    assert (kept.request_id, kept.tenant, kept.replica, kept.status) == ("req_1", "acme", "engine-0", 502)
    assert (kept.code, kept.outcome, kept.route) == ("engine_error", Outcome.UPSTREAM_FAILED, CHAT)
    assert "secret" not in repr(kept)


def test_an_error_of_nobody_is_not_kept() -> None:
    account = Account()
    account.settlement.failed(Unauthenticated("No."))
    account.settlement.close()
    assert account.metrics.last_errors.newest_first() == []


def test_who_has_left_was_not_answered_by_that() -> None:
    account = Account()
    assert not account.settlement.is_answered
    account.settlement.client_gone(0.0)
    assert not account.settlement.is_answered
    account.settlement.status = 404
    assert account.settlement.is_answered
