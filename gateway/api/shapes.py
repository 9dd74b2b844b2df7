"""A chat completion, and its chunks, in the shapes of `/chat/sessions`, made on their way to the client."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import orjson
from starlette.types import Message, Send

from gateway.domain import JsonObject

_END = b"\n\n"
_DATA = b"data: "
_DONE = b"data: [DONE]"


class ChatMessage:
    """A whole answer as `{session_id, message, usage, finish_reason, timestamp}`. An error passes as it is."""

    def __init__(self, send: Send, send_part: Send, session_id: str) -> None:
        self._send = send
        self._send_part = send_part
        self._session_id = session_id
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        """Keep the head back, whose length is not known yet."""
        if message["type"] == "http.response.start" and message["status"] == 200:
            self._head = message
        else:
            await self._send(message)

    async def send_part(self, message: Message) -> None:
        """Send the body, all of which is here."""
        head, self._head = self._head, None
        if head is None:
            await self._send_part(message)
            return
        body = orjson.dumps(self._shaped(orjson.loads(message["body"])))
        kept = [(name, value) for name, value in head["headers"] if name != b"content-length"]
        await self._send({**head, "headers": [*kept, (b"content-length", b"%d" % len(body))]})
        await self._send_part({**message, "body": body})

    def _shaped(self, answer: JsonObject) -> JsonObject:
        choice = answer["choices"][0]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        said = {"role": "assistant", "content": choice["message"]["content"], "timestamp": now}
        return {
            "session_id": self._session_id,
            "message": said,
            "usage": answer.get("usage"),
            "finish_reason": choice["finish_reason"],
            "timestamp": now,
        }


class ChatEvents:
    """Chunks as events `{content, finish_reason}`. Pings, errors and the end mark pass as they are."""

    def __init__(self, send: Send, send_part: Send) -> None:
        self._send = send
        self._send_part = send_part

    async def send(self, message: Message) -> None:
        """Send the head; a recorded one knows the length of the other shape."""
        if message["type"] == "http.response.start" and message["status"] == 200:
            message["headers"] = [each for each in message["headers"] if each[0] != b"content-length"]
        await self._send(message)

    async def send_part(self, message: Message) -> None:
        """Send a part of the body, which is whole events, or an error that is the whole body."""
        body = message.get("body", b"")
        if body.startswith(_DATA):
            body = b"".join(each + _END for block in body.split(_END) if block for each in _shaped(block))
        if body or not message.get("more_body", False):
            await self._send_part({**message, "body": body})


def _shaped(block: bytes) -> Iterator[bytes]:
    chunk = None if block == _DONE else orjson.loads(block.removeprefix(_DATA))
    if chunk is None or "error" in chunk:
        yield block
        return
    for choice in chunk["choices"][:1]:
        event = {"content": choice["delta"].get("content") or "", "finish_reason": choice.get("finish_reason")}
        if event["content"] or event["finish_reason"]:
            yield _DATA + orjson.dumps(event)
