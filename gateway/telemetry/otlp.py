"""Spans by OpenTelemetry: its SDK batches and sends them, over OTLP/HTTP, from a thread of its own.

Names are those of the semantic conventions for generative AI (https://opentelemetry.io/docs/specs/semconv/gen-ai/);
what they do not have is under `gemma_gateway.`. No prompt and no answer is in a span.
"""

from __future__ import annotations

import time

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway.telemetry.tracing import Fields, SpanIds

_OPERATIONS = {"/v1/chat/completions": "chat", "/v1/completions": "text_completion"}
_NAMES = {
    "model": "gen_ai.request.model",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "session_id": "gen_ai.conversation.id",
    "error": "error.type",
    "method": "http.request.method",
    "path": "url.path",
    "status": "http.response.status_code",
    "replica": "server.address",
    "request_id": "gemma_gateway.request_id",
    "tenant": "gemma_gateway.tenant",
    "outcome": "gemma_gateway.outcome",
    "attempts": "gemma_gateway.attempts",
    "stream": "gemma_gateway.stream",
    "cached_tokens": "gemma_gateway.cached_tokens",
    "time_to_first_token_seconds": "gemma_gateway.time_to_first_token_seconds",
}
_NANOSECONDS = 1_000_000_000


class OtlpRecorder:
    """A `Recorder` that sends to an OTLP/HTTP endpoint. When it is not reached, spans are dropped."""

    def __init__(self, endpoint: str, version: str) -> None:
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint))
        self._resource = Resource.create({"service.name": "gemma-gateway", "service.version": version})
        self._scope = InstrumentationScope("gemma-gateway", version)

    def record(self, ids: SpanIds, fields: Fields, duration_seconds: float) -> None:
        """See `Recorder.record`."""
        self._processor.on_end(self._span(ids, fields, duration_seconds))

    def close(self) -> None:
        """See `Recorder.close`."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _span(self, ids: SpanIds, fields: Fields, duration_seconds: float) -> ReadableSpan:
        operation = _OPERATIONS.get(fields["path"])
        attributes = {name: fields[field] for field, name in _NAMES.items() if fields[field] is not None}
        if operation:
            attributes |= {"gen_ai.operation.name": operation, "gen_ai.provider.name": "vllm"}
        ended = time.time_ns()
        failed = fields["status"] >= 500 or fields["outcome"] in ("failed", "upstream_failed", "timed_out")
        return ReadableSpan(
            name=f"{operation} {fields['model']}" if operation else f"{fields['method']}",
            context=_context(ids.trace_id, ids.span_id, remote=False),
            parent=_context(ids.trace_id, ids.parent_id, remote=True) if ids.parent_id else None,
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=ended - int(duration_seconds * _NANOSECONDS),
            end_time=ended,
            instrumentation_scope=self._scope,
        )


def _context(trace_id: int, span_id: int, *, remote: bool) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))
