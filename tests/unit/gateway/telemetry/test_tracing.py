"""A trace is taken up from a client where it is one, and begun where it is not."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from config import TelemetrySettings
from gateway.telemetry.tracing import SpanIds, Tracer, open_tracer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Kept:
    """A recorder that keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[SpanIds] = []

    def record(self, ids: SpanIds, fields: Mapping[str, Any], duration_seconds: float) -> None:
        """Keep the ids."""
        self.spans.append(ids)

    def close(self) -> None:
        """Nothing is held."""


def test_a_clients_trace_is_taken_up() -> None:
    trace = Tracer(Kept()).begin(f"00-{TRACE}-{SPAN}-01".encode())
    assert (trace.ids.trace_id, trace.ids.parent_id) == (int(TRACE, 16), int(SPAN, 16))
    assert re.fullmatch(rf"00-{TRACE}-(?!{SPAN})[0-9a-f]{{16}}-01", trace.ids.traceparent)


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"nonsense",
        f"00-{TRACE}-{SPAN}".encode(),
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-01\r\nx: y".encode(),
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace(header: bytes | None) -> None:
    trace = Tracer(Kept()).begin(header)
    assert trace.ids.parent_id is None
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace.ids.traceparent)
    assert trace.ids.trace_id != int(TRACE, 16)


@pytest.mark.parametrize(("flags", "recorded"), [("00", 0), ("01", 1), ("03", 1), ("02", 0)])
def test_a_trace_that_its_client_does_not_sample_is_not_recorded(flags: str, recorded: int) -> None:
    kept = Kept()
    Tracer(kept).begin(f"00-{TRACE}-{SPAN}-{flags}".encode()).end({}, 1.0)
    assert len(kept.spans) == recorded


def test_without_an_endpoint_nothing_is_loaded() -> None:
    assert open_tracer(TelemetrySettings(), "0") is None
    assert "gateway.telemetry.otlp" not in sys.modules
