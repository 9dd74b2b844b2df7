"""Traces: one span a request, made when it has ended. Without `telemetry.otlp_endpoint` nothing of it is loaded.

The trace is the client's, where it sent a `traceparent` that is one (W3C Trace Context, level 1), else a new one.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from config import TelemetrySettings

_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SpanIds:
    """Where a request's span belongs. `parent_id` is None where the trace begins here."""

    trace_id: int
    span_id: int
    parent_id: int | None = None
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """What is sent on, so that the engine's span becomes a child of ours."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


class Recorder(Protocol):
    """What sends spans away, from a thread of its own."""

    def record(self, ids: SpanIds, fields: Fields, duration_seconds: float) -> None:
        """Take one request that has just ended. Never waits; drops what nobody takes."""

    def close(self) -> None:
        """Send what is left. Blocks for seconds at most."""


class Tracer:
    """Gives each request its ids, and has its span recorded."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def begin(self, traceparent: bytes | None) -> Trace:
        """Return the trace of a new request. A `traceparent` that is none is ignored, as the standard asks."""
        found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
        trace_id, parent_id = (int(found[1], 16), int(found[2], 16)) if found else (0, 0)
        span_id = _random_id(8)
        if found is None or not trace_id or not parent_id:
            return Trace(SpanIds(_random_id(16), span_id), self._recorder)
        return Trace(SpanIds(trace_id, span_id, parent_id, bool(int(found[3], 16) & _SAMPLED)), self._recorder)

    def close(self) -> None:
        """Send what is left. Blocks for seconds at most."""
        self._recorder.close()


class Trace:
    """One request's part of a trace."""

    __slots__ = ("_recorder", "ids")

    def __init__(self, ids: SpanIds, recorder: Recorder) -> None:
        self.ids = ids
        self._recorder = recorder

    def end(self, fields: Fields, duration_seconds: float) -> None:
        """Record the span: `fields` are those of the request's log line."""
        if self.ids.sampled:
            self._recorder.record(self.ids, fields, duration_seconds)


def open_tracer(settings: TelemetrySettings, version: str) -> Tracer | None:
    """Return a tracer, None where no endpoint is set. Its owner closes it."""
    if not settings.otlp_endpoint:
        return None
    # OpenTelemetry is an extra: only who asks for traces has it, and only then is it loaded.
    otlp = importlib.import_module("gateway.telemetry.otlp")
    return Tracer(cast(Recorder, otlp.OtlpRecorder(settings.otlp_endpoint, version)))


def _random_id(size: int) -> int:
    return int.from_bytes(os.urandom(size)) or 1
