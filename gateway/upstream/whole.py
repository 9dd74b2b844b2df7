"""An answer that is not streamed, read and made the client's."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.domain import JsonObject, Prompt, Usage
from gateway.errors import EngineBroke, EngineFailure, EngineRefused
from gateway.upstream.answer_frame import spliced
from gateway.upstream.splice import usage_of
from gateway.upstream.tool_calls import read_whole
from gateway.upstream.transcript import answer_message

_NULLABLE = frozenset(
    {"content", "refusal", "logprobs", "finish_reason", "service_tier", "system_fingerprint", "usage"}
)


class WholeAnswer:
    """A non-streamed answer, complete; it holds no connection."""

    __slots__ = ("_message", "body", "finish_reason", "usage")

    def __init__(self, body: bytes, usage: Usage | None, message: JsonObject | None, finish_reason: str | None) -> None:
        self.body = body
        self.usage = usage
        self.finish_reason = finish_reason
        self._message = message

    @property
    def message(self) -> JsonObject:
        """The first choice. Read when it is first asked for. Raises EngineBroke where it cannot be."""
        if self._message is None:
            answer, texts = _read(self.body)
            self._message = _said(answer["choices"][0], texts[0])
        return self._message

    def close(self) -> None:
        """Nothing is held."""


def whole_answer(body: bytes, public_id: str, prompt: Prompt) -> WholeAnswer:
    """Return the answer in `body`. Raises EngineFailure for one that is none, or that was cut."""
    if prompt.tools is None and prompt.session_usage is None and prompt.choices == 1:
        answer = spliced(body, public_id, prompt.answered_as, _rewrite)
        if answer is not None:
            rewritten, usage, finish_reason = answer
            return WholeAnswer(rewritten, usage, None, finish_reason)
    return _by_json(body, public_id, prompt)


def _rewrite(body: bytes, model: str) -> bytes | None:
    """Return an answer with an empty id as the client gets it; None for one that no client gets."""
    try:
        answer, _ = _read(body)
    except EngineFailure:
        return None
    return orjson.dumps(_plain_answer(answer, "", model))


def _by_json(body: bytes, public_id: str, prompt: Prompt) -> WholeAnswer:
    answer, texts = _read(body)
    if prompt.tools:
        answer["choices"] = [read_whole(choice, prompt.tools) for choice in answer["choices"]]
        texts = [_text_of(choice) for choice in answer["choices"]]
    answer = _plain_answer(answer, public_id, prompt.answered_as)
    usage = answer.get("usage")
    if prompt.session_usage is not None and isinstance(usage, dict):
        answer["usage"] = {**usage, "session": prompt.session_usage}
    first = answer["choices"][0]
    return WholeAnswer(orjson.dumps(answer), usage_of(usage), _said(first, texts[0]), first.get("finish_reason"))


def _read(body: bytes) -> tuple[JsonObject, list[str]]:
    """Return an answer and the text of each choice, of which there is at least one. Raises EngineFailure."""
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
    return answer, texts


def _said(choice: JsonObject, text: str) -> JsonObject:
    """Return a choice as a message for a session."""
    return answer_message(text, (choice.get("message") or {}).get("tool_calls") or [])


def _plain_answer(answer: JsonObject, public_id: str, model: str) -> JsonObject:
    kept = _without_nulls(answer)
    kept["choices"] = [_plain(choice) for choice in kept["choices"]]
    kept["id"], kept["model"] = public_id, model
    return kept


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
