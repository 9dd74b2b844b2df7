"""An engine's answer, read up to the point where it is known to be one.

`ask()` returns only when the first content (or the whole body) is here: until then another engine may be asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from gateway.domain import (
    Endpoint,
    EngineClient,
    EngineRequest,
    JsonObject,
    Prompt,
    Replica,
    RequestId,
    Sink,
    ToolUse,
    UpstreamStream,
    Usage,
)
from gateway.errors import EngineBroke, EngineFailure, EngineRefused, GatewayError
from gateway.upstream.refusal import refusal
from gateway.upstream.splice import ChunkSplicer, usage_of
from gateway.upstream.sse import EventSplitter
from gateway.upstream.tool_calls import read_whole
from gateway.upstream.tool_stream import BETWEEN_EVENTS, ToolCallStream
from gateway.upstream.transcript import Transcript, answer_message

_MAX_ERROR_BYTES = 65_536
_LAST_CHUNK_SECONDS = 1.0
_ROLE_CHUNK = b'"delta":{"role":"assistant","content":""'
_ABORTED = b'"finish_reason":"abort"'
_NULLABLE = frozenset(
    {"content", "refusal", "logprobs", "finish_reason", "service_tier", "system_fingerprint", "usage"}
)
_ID_PREFIXES = {Endpoint.CHAT: "chatcmpl-", Endpoint.COMPLETIONS: "cmpl-"}


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


class StreamedAnswer:
    """A stream whose first content is here. Owns the engine's connection until close()."""

    def __init__(
        self, stream: UpstreamStream, splicer: ChunkSplicer, keeps_text: bool, tools: ToolUse | None = None
    ) -> None:
        self._stream = stream
        self._splicer = splicer
        self._tool_calls = ToolCallStream(tools) if tools else None
        self._splitter = EventSplitter()
        self._plain = tools is None and not keeps_text
        self._transcript = Transcript() if keeps_text else None
        self._held = b""
        self._failure: GatewayError | None = None

    @property
    def usage(self) -> Usage | None:
        """What the engine has counted so far."""
        return self._splicer.usage

    @property
    def message(self) -> JsonObject:
        """The first choice so far; kept only for sessions."""
        return self._transcript.message if self._transcript else answer_message("", [])

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended; kept only for sessions."""
        return self._transcript.finish_reason if self._transcript else None

    async def hold_head(self) -> None:
        """Read until more than the role chunk is here. Raises EngineFailure, EngineRefused for an empty abort."""
        content = False
        while not content and not self._splicer.done:
            data = await self._stream.read()
            if not data:
                raise _cut_short()
            payloads = self._splitter.feed(data)
            for payload in payloads:
                if _ABORTED in payload and not content:
                    raise EngineRefused("The engine is shutting down. Please try again.", retry_after_ms=1000)
                content = content or _ROLE_CHUNK not in payload
            self._held += self._events(payloads)
            if self._failure is not None:
                # Nothing has been forwarded, so this is still a failure that another engine may make good.
                raise self._failure

    async def read(self) -> bytes:
        """Return the next events, ready to send; `b""` when the engine has said that it is done.

        Raises EngineFailure where the stream ends before that. The end marker is the caller's to send.
        """
        if self._held:
            held, self._held = self._held, b""
            return held
        while not self._splicer.done:
            if self._failure is not None:
                raise self._failure
            data = await self._stream.read()
            if not data:
                raise _cut_short()
            event = self._splicer.splice_event(data) if self._plain and self._splitter.empty else None
            events = event or self._events(self._splitter.feed(data))
            if events:
                return events
        return b""

    async def pump(self, write: Sink) -> None:
        """Give `write` ordinary chunks, ready to send, as they come. What is left is read next."""
        if not self._plain or self._held or self._failure is not None or self._splicer.done:
            return
        splice_event, splitter = self._splicer.splice_event, self._splitter

        def forward(data: bytes) -> bool:
            # To splice an event again, where `write` refuses it, does no harm.
            event = splice_event(data) if splitter.empty else None
            return event is not None and write(event)

        await self._stream.pump(forward)

    async def finish(self) -> None:
        """Take in the end of the body, so that close() gives the connection back instead of cutting it.

        It comes with the end marker or right after it; an engine that keeps it back loses the connection.
        """
        with suppress(TimeoutError, EngineFailure):
            async with asyncio.timeout(_LAST_CHUNK_SECONDS):
                await self._stream.read()

    def close(self) -> None:
        """Let the engine's connection go: to its pool after the last byte, else closed at once."""
        self._stream.close()

    def _events(self, payloads: list[bytes]) -> bytes:
        """Return the events up to the first that reports a failure, which is kept for after them."""
        events = []
        for payload in payloads:
            try:
                for_client = self._spliced(payload)
            except GatewayError as error:
                self._failure = error
                break
            if for_client:
                events.append(b"data: " + for_client + b"\n\n")
        return b"".join(events)

    def _spliced(self, payload: bytes) -> bytes:
        if _ABORTED in payload:
            # A vLLM that goes down ends what is running so. To the client it would look like a whole answer.
            raise EngineBroke("The engine stopped before the end of its answer.")
        for_client = self._splicer.splice(payload)
        if for_client and self._tool_calls is not None:
            for_client = self._tool_calls.rewrite(for_client)
        if for_client and self._transcript is not None:
            for each in for_client.split(BETWEEN_EVENTS):
                self._transcript.add(each)
        return for_client


Answer = WholeAnswer | StreamedAnswer


async def ask(
    client: EngineClient,
    replica: Replica,
    prompt: Prompt,
    request_id: RequestId,
    keeps_text: bool,
    max_answer_bytes: int,
    lost: Callable[[Usage | None], None] | None = None,
) -> Answer:
    """Send `prompt` to `replica` and return its answer, whose owner is the caller.

    `lost` is told what the engine had counted of a stream that ends before its first content.

    Raises EngineFailure (see its `again`), or the engine's refusal as one of ours. Nothing stays open after a raise
    or a cancellation.
    """
    stream = await client.open(replica, _request(prompt, request_id))
    try:
        if stream.status != 200:
            raise refusal(stream.status, await read_all(stream, _MAX_ERROR_BYTES))
        public_id = _ID_PREFIXES[prompt.endpoint] + request_id.removeprefix("req_")
        if not prompt.stream:
            whole = _whole(await read_all(stream, max_answer_bytes), public_id, prompt.answered_as, prompt.tools)
            stream.close()
            return whole
        splicer = ChunkSplicer(public_id, prompt.answered_as, prompt.wants_usage)
        answer = StreamedAnswer(stream, splicer, keeps_text, prompt.tools)
        try:
            await answer.hold_head()
        except BaseException:
            if lost is not None:
                lost(answer.usage)
            raise
        return answer
    except BaseException:
        stream.close()
        raise


def _cut_short() -> EngineBroke:
    return EngineBroke("The engine's answer was cut short.")


def _request(prompt: Prompt, request_id: RequestId) -> EngineRequest:
    headers = (
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if prompt.stream else "application/json"),
        ("x-request-id", request_id),
    )
    return EngineRequest("POST", prompt.endpoint.value, prompt.body, headers)


async def read_all(stream: UpstreamStream, limit_bytes: int) -> bytes:
    """Return the whole body of an answer that stays the caller's. Raises EngineBroke where it is larger."""
    parts = []
    size = 0
    while part := await stream.read():
        size += len(part)
        if size > limit_bytes:
            # Not worth a second try: it would be as large again.
            raise EngineFailure("The engine's answer is too large.")
        parts.append(part)
    return b"".join(parts)


def _whole(body: bytes, public_id: str, model: str, tools: ToolUse | None) -> WholeAnswer:
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
    if tools:
        answer["choices"] = [read_whole(choice, tools) for choice in answer["choices"]]
    answer["choices"] = [_plain(choice) for choice in answer["choices"]]
    answer = _without_nulls(answer) | {"id": public_id, "model": model}
    first = answer["choices"][0]
    calls = (first.get("message") or {}).get("tool_calls") or []
    said = answer_message(_text_of(first), calls)
    return WholeAnswer(orjson.dumps(answer), usage_of(answer.get("usage")), said, first.get("finish_reason"))


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
