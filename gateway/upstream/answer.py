"""An engine's answer, read up to the point where it is known to be one.

`ask()` returns only when the first content (or the whole body) is here: until then another engine may be asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

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
from gateway.upstream.splice import ChunkSplicer
from gateway.upstream.sse import EventSplitter
from gateway.upstream.tool_stream import BETWEEN_EVENTS, ToolCallStream
from gateway.upstream.transcript import Transcript, answer_message
from gateway.upstream.whole import WholeAnswer, whole_answer

_MAX_ERROR_BYTES = 65_536
_LAST_CHUNK_SECONDS = 1.0
_ROLE_CHUNK = b'"delta":{"role":"assistant","content":""'
_ABORTED = b'"finish_reason":"abort"'
_USAGE_CHUNK = b'"choices":[]'
_ID_PREFIXES = {Endpoint.CHAT: "chatcmpl-", Endpoint.COMPLETIONS: "cmpl-"}


class StreamedAnswer:
    """A stream whose first content is here. Owns the engine's connection until close()."""

    def __init__(
        self,
        stream: UpstreamStream,
        splicer: ChunkSplicer,
        keeps_text: bool,
        tools: ToolUse | None = None,
        session_usage: JsonObject | None = None,
    ) -> None:
        self._stream = stream
        self._splicer = splicer
        self._tool_calls = ToolCallStream(tools) if tools else None
        self._splitter = EventSplitter()
        self._plain = tools is None and not keeps_text
        self._transcript = Transcript() if keeps_text else None
        self._session_usage = session_usage
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
        if self._session_usage is not None and _USAGE_CHUNK in for_client:
            return _with_session(for_client, self._session_usage)
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
    traceparent: str | None = None,
) -> Answer:
    """Send `prompt` to `replica` and return its answer, whose owner is the caller.

    `lost` is told what the engine had counted of a stream that ends before its first content.

    Raises EngineFailure (see its `again`), or the engine's refusal as one of ours. Nothing stays open after a raise
    or a cancellation.
    """
    stream = await client.open(replica, _request(prompt, request_id, traceparent))
    try:
        if stream.status != 200:
            raise await refusal_of(stream)
        public_id = _ID_PREFIXES[prompt.endpoint] + request_id.removeprefix("req_")
        if not prompt.stream:
            whole = whole_answer(await read_all(stream, max_answer_bytes), public_id, prompt)
            stream.close()
            return whole
        prompt_choices = prompt.choices // prompt.prompts if prompt.prompts > 1 else 0
        splicer = ChunkSplicer(public_id, prompt.answered_as, prompt.wants_usage, prompt_choices)
        answer = StreamedAnswer(stream, splicer, keeps_text, prompt.tools, prompt.session_usage)
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


def _request(prompt: Prompt, request_id: RequestId, traceparent: str | None) -> EngineRequest:
    headers: tuple[tuple[str, str], ...] = (
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if prompt.stream else "application/json"),
        ("x-request-id", request_id),
    )
    if traceparent:
        headers += (("traceparent", traceparent),)
    return EngineRequest("POST", prompt.endpoint, prompt.body, headers)


async def refusal_of(stream: UpstreamStream) -> GatewayError:
    """Return the error of an answer that refuses, by its status and the start of its body, and that stays the caller's.

    An engine may say in it what it was sent. How long that is changes neither whose fault it is nor what it costs.
    """
    start = bytearray()
    while len(start) < _MAX_ERROR_BYTES and (part := await stream.read()):
        start += part
    return refusal(stream.status, bytes(start))


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


def _with_session(payload: bytes, session_usage: JsonObject) -> bytes:
    """Return the chunk with the usage, and in it what was sent of the session."""
    chunk = orjson.loads(payload)
    if isinstance(chunk.get("usage"), dict):
        chunk["usage"]["session"] = session_usage
    return orjson.dumps(chunk)
