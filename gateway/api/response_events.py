"""The chunks of a chat as the events of a response. Pure.

https://platform.openai.com/docs/api-reference/responses-streaming. Each event says its type twice, as at OpenAI, and
its place in the order.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.api.response_object import ResponseObject, call_item, message_item, status_of, text_part
from gateway.domain import JsonObject


class ResponseWriter:
    """Makes events of chunks, and of all chunks the response. Every method returns events, ready to send."""

    def __init__(self, response: ResponseObject) -> None:
        self._response = response
        self._number = 0
        self._output: list[JsonObject] = []
        self._open: _Words | _CallInParts | None = None
        self._logprobs: list[Any] = []
        """Of tokens that made no words yet, such as a part of a character."""
        self._finish_reason: str | None = None
        self._usage: JsonObject | None = None

    def begin(self) -> bytes:
        """Say that there is a response."""
        begun = self._response.begun()
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def chunk(self, chunk: JsonObject) -> bytes:
        """Take in one chunk of the chat."""
        self._usage = chunk.get("usage") or self._usage
        events = b""
        for choice in chunk["choices"]:
            delta = choice["delta"]
            self._logprobs += (choice.get("logprobs") or {}).get("content") or []
            if delta.get("content"):
                events += self._words(delta["content"])
            for call in delta.get("tool_calls") or ():
                events += self._call(call)
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
        return events

    def end(self) -> bytes:
        """Say that the output is whole; an answer without a word is one empty text."""
        begun = self._opened(_Words(self._response.item_id("msg", 0))) if not (self._output or self._open) else b""
        return begun + self._closed()

    def ended(self) -> JsonObject:
        """Return the response after its end."""
        return self._response.ended(self._output, self._finish_reason, self._usage)

    def done(self) -> bytes:
        """Say that it is all."""
        response = self.ended()
        return self._event(f"response.{response['status']}", response=response)

    def failed(self, envelope: JsonObject) -> bytes:
        """Say why there will be no more.

        OpenAI's `error` event, and in it the envelope of an error in a chat's stream: SDKs raise for that, and only
        for that.
        """
        error = envelope["error"]
        return self._event("error", code=error["code"], message=error["message"], param=error["param"], **envelope)

    def _words(self, text: str) -> bytes:
        events, logprobs, self._logprobs = b"", self._logprobs, []
        if not isinstance(self._open, _Words):
            events = self._closed() + self._opened(_Words(self._response.item_id("msg", len(self._output))))
        item = self._open
        if isinstance(item, _Words):
            item.add(text, logprobs)
            events += self._of(item, "response.output_text.delta", content_index=0, delta=text, logprobs=logprobs)
        return events

    def _call(self, delta: JsonObject) -> bytes:
        """Take in a part of a call: its id and name come first, its arguments in any portions."""
        events, function = b"", delta.get("function") or {}
        if delta.get("id"):
            identity = self._response.item_id("fc", len(self._output) + (self._open is not None))
            events = self._closed() + self._opened(_CallInParts(identity, delta["id"], function.get("name") or ""))
        item, arguments = self._open, function.get("arguments")
        if isinstance(item, _CallInParts) and arguments:
            item.add(arguments)
            events += self._of(item, "response.function_call_arguments.delta", delta=arguments)
        return events

    def _opened(self, item: _Words | _CallInParts) -> bytes:
        self._open = item
        events = self._of(item, "response.output_item.added", item=item.begun())
        if isinstance(item, _Words):
            events += self._of(item, "response.content_part.added", content_index=0, part=text_part(""))
        return events

    def _closed(self) -> bytes:
        item = self._open
        if item is None:
            return b""
        if isinstance(item, _Words):
            item.add("", self._logprobs)
            self._logprobs = []
        whole = item.whole(status_of(self._finish_reason))
        if isinstance(item, _Words):
            part = whole["content"][0]
            said = {"text": part["text"], "logprobs": part["logprobs"]}
            events = self._of(item, "response.output_text.done", content_index=0, **said)
            events += self._of(item, "response.content_part.done", content_index=0, part=part)
        else:
            said = {"name": whole["name"], "arguments": whole["arguments"]}
            events = self._of(item, "response.function_call_arguments.done", **said)
        events += self._of(item, "response.output_item.done", item=whole)
        self._output.append(whole)
        self._open = None
        return events

    def _of(self, of: _Words | _CallInParts, kind: str, **members: Any) -> bytes:
        """Return an event about an item, which is the one that is open."""
        place: JsonObject = {"output_index": len(self._output)}
        if "item" not in members:
            place["item_id"] = of.id
        return self._event(kind, **place, **members)

    def _event(self, kind: str, **members: Any) -> bytes:
        event = orjson.dumps({"type": kind, "sequence_number": self._number, **members})
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + event + b"\n\n"


class _Words:
    """An item of text while it grows."""

    def __init__(self, identity: str) -> None:
        self.id = identity
        self._texts: list[str] = []
        self._logprobs: list[Any] = []

    def add(self, text: str, logprobs: list[Any]) -> None:
        self._texts.append(text)
        self._logprobs += logprobs

    def begun(self) -> JsonObject:
        return message_item(self.id, "in_progress", [])

    def whole(self, status: str) -> JsonObject:
        return message_item(self.id, status, [text_part("".join(self._texts), self._logprobs)])


class _CallInParts:
    """A call while its arguments grow."""

    def __init__(self, identity: str, call_id: str, name: str) -> None:
        self.id = identity
        self._call_id = call_id
        self._name = name
        self._arguments: list[str] = []

    def add(self, arguments: str) -> None:
        self._arguments.append(arguments)

    def begun(self) -> JsonObject:
        return call_item(self.id, self._call_id, self._name, "", "in_progress")

    def whole(self, status: str) -> JsonObject:
        return call_item(self.id, self._call_id, self._name, "".join(self._arguments), status)
