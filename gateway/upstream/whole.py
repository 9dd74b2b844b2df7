"""An answer that is not streamed, read and made the client's."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.domain import JsonObject, Prompt, Usage
from gateway.errors import EngineBroke, EngineRefused
from gateway.upstream.splice import usage_of
from gateway.upstream.tool_calls import read_whole
from gateway.upstream.transcript import answer_message

_NULLABLE = frozenset(
    {"content", "refusal", "logprobs", "finish_reason", "service_tier", "system_fingerprint", "usage"}
)


class WholeAnswer:
    """A non-streamed answer, complete; it holds no connection."""

    def __init__(self, body: bytes, usage: Usage | None, message: JsonObject, finish_reason: str | None) -> None:
        self.body = body
        self.usage = usage
        self.message = message
        """The first choice, for a session."""
        self.finish_reason = finish_reason

    def close(self) -> None:
        """Nothing is held."""


def whole_answer(body: bytes, public_id: str, prompt: Prompt) -> WholeAnswer:
    """Return the answer in `body`. Raises EngineFailure for one that is none, or that was cut."""
    try:
        answer: Any = orjson.loads(body)
        texts = [_text_of(choice) for choice in answer["choices"]]
        reasons = [choice.get("finish_reason") for choice in answer["choices"]]
        _ = reasons[0]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise EngineBroke("The engine's answer has an unknown shape.") from None
    if "abort" in reasons:
        if any(texts):
            raise EngineBroke("The engine stopped before the end of its answer.")
        raise EngineRefused("The engine is shutting down. Please try again.", retry_after_ms=1000)
    choices = answer["choices"]
    if prompt.tools:
        choices = [read_whole(choice, prompt.tools) for choice in choices]
        texts = [_text_of(choice) for choice in choices]
    answer = _without_nulls(answer)
    answer["choices"] = choices = [_plain(choice) for choice in choices]
    answer["id"], answer["model"] = public_id, prompt.answered_as
    usage = answer.get("usage")
    if prompt.session_usage is not None and isinstance(usage, dict):
        answer["usage"] = {**usage, "session": prompt.session_usage}
    first = choices[0]
    calls = (first.get("message") or {}).get("tool_calls") or []
    said = answer_message(texts[0], calls)
    return WholeAnswer(orjson.dumps(answer), usage_of(usage), said, first.get("finish_reason"))


def _plain(choice: JsonObject) -> JsonObject:
    kept = _without_nulls(choice)
    if isinstance(kept.get("message"), dict):
        kept["message"] = _without_nulls(kept["message"])
    return kept


def _without_nulls(members: JsonObject) -> JsonObject:
    """Leave out the nulls that vLLM writes and OpenAI does not: `token_ids`, `prompt_logprobs` and their like."""
    return {name: value for name, value in members.items() if value is not None or name in _NULLABLE}


def _text_of(choice: Any) -> str:
    text = choice.get("text") or (choice.get("message") or {}).get("content") or ""
    if not isinstance(text, str):
        raise TypeError("an answer is a text")
    return text
