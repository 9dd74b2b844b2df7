"""An engine's error answer → one of ours. vLLM's `code` is an HTTP number and its texts are for operators of vLLM."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.errors import (
    ContextTooLong,
    EngineErred,
    EngineFailure,
    EngineRefused,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
)

_CONTEXT_MARKS = ("maximum context length", "max_model_len", "longer than the maximum model length")
_DEFAULT_RETRY_MS = 1000


def refusal(status: int, body: bytes) -> GatewayError:
    """Return the error to raise for an engine's answer with `status` ≥ 400."""
    message, param = _message(body)
    if status == 404:
        return ModelNotFound(message or "The engine does not know this model.", param="model")
    if status in (400, 422):
        if any(mark in message for mark in _CONTEXT_MARKS):
            return ContextTooLong(message, param="messages")
        return InvalidRequest(message or "The engine refused the request.", param=param, code="invalid_value")
    if status in (429, 503):
        return EngineRefused("The engine is full or not ready. Please try again.", retry_after_ms=_DEFAULT_RETRY_MS)
    kind = EngineErred if status >= 500 else EngineFailure
    return kind("The engine failed to answer.", retry_after_ms=_DEFAULT_RETRY_MS)


def refusal_in_stream(payload: bytes) -> GatewayError:
    """Return the error for `{"error": {…}}` sent as an event; its `code` is the status it would have had."""
    code = orjson.loads(payload)["error"]
    status = code.get("code") if isinstance(code, dict) else None
    return refusal(status if isinstance(status, int) and status >= 400 else 500, payload)


def _message(body: bytes) -> tuple[str, str | None]:
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", None
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if not isinstance(error, dict):
        return "", None
    message, param = error.get("message"), error.get("param")
    return message if isinstance(message, str) else "", param if isinstance(param, str) else None
