"""A chat answer as a response: https://platform.openai.com/docs/api-reference/responses/object. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.domain import JsonObject, RequestId

ID_PREFIX = "resp_"
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseObject:
    """What a response says of itself, from the request on."""

    def __init__(self, request_id: RequestId, model: str, shown: JsonObject, created_at: int, *, store: bool) -> None:
        self._mark = request_id.removeprefix("req_")
        self._model = model
        self._shown = shown
        self._created_at = created_at
        self.store = store
        """Whether it is kept."""

    @property
    def id(self) -> str:
        """Ours: `resp_…`, the request's id in another dress."""
        return ID_PREFIX + self._mark

    def begun(self) -> JsonObject:
        """Return the response before its first word."""
        return self._object("in_progress", [], None, None)

    def ended(self, output: Sequence[JsonObject], finish_reason: str | None, usage: JsonObject | None) -> JsonObject:
        """Return the response with all of its answer. `usage` is a chat's."""
        return self._object(status_of(finish_reason), list(output), finish_reason, usage)

    def item_id(self, kind: str, index: int) -> str:
        """Return the id of an item of the output."""
        return f"{kind}_{self._mark}{index:02x}"

    def output_of(self, choice: JsonObject) -> list[JsonObject]:
        """Return a chat's choice as the items of an output."""
        message = choice["message"]
        calls = message.get("tool_calls") or []
        text = message.get("content") or ""
        output: list[JsonObject] = []
        if text or not calls:
            logprobs = (choice.get("logprobs") or {}).get("content") or []
            output.append(message_item(self.item_id("msg", 0), "completed", [text_part(text, logprobs)]))
        for call in calls:
            function = call["function"]
            identity = self.item_id("fc", len(output))
            output.append(call_item(identity, call["id"], function["name"], function["arguments"], "completed"))
        # What something came after was whole; only the last can have been cut.
        output[-1]["status"] = status_of(choice.get("finish_reason"))
        return output

    def _object(
        self, status: str, output: list[JsonObject], finish_reason: str | None, usage: JsonObject | None
    ) -> JsonObject:
        reason = _INCOMPLETE.get(finish_reason or "")
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": self._model,
            "output": output,
            "store": self.store,
            "usage": _usage(usage),
            **self._shown,
        }


def status_of(finish_reason: str | None) -> str:
    """Return the status of an answer that ended so."""
    return "incomplete" if finish_reason in _INCOMPLETE else "completed"


def message_item(identity: str, status: str, content: list[JsonObject]) -> JsonObject:
    """Return an item of words."""
    return {"id": identity, "type": "message", "role": "assistant", "status": status, "content": content}


def text_part(text: str, logprobs: Sequence[Any] = ()) -> JsonObject:
    """Return the words of such an item. `logprobs` are a chat's, which have the same form."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def call_item(identity: str, call_id: str, name: str, arguments: str, status: str) -> JsonObject:
    """Return an item that calls a function."""
    return {
        "id": identity,
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": status,
    }


def _usage(counted: JsonObject | None) -> JsonObject | None:
    if not counted:
        return None
    cached = (counted.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": counted["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": counted["total_tokens"],
    }
