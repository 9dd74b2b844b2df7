"""A chat answer as a transcription: https://platform.openai.com/docs/api-reference/audio/json-object. Sans-I/O."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.api.answer_shape import AnswerShape, EventSource
from gateway.domain import JsonObject, Sink
from gateway.prompt.media import AUDIO_TOKENS
from gateway.upstream import StreamedAnswer, WholeAnswer


class TranscriptShape(AnswerShape):
    """`json`, or with `plain` the text alone."""

    def __init__(self, plain: bool) -> None:
        self._plain = plain

    def whole(self, answer: WholeAnswer) -> tuple[bytes, bytes]:
        """Return the content type and the body."""
        text = (answer.message.get("content") or "").strip()
        if self._plain:
            return b"text/plain; charset=utf-8", f"{text}\n".encode()
        return b"application/json", orjson.dumps({"text": text, **_usage(orjson.loads(answer.body).get("usage"))})

    def streamed(self, answer: StreamedAnswer) -> EventSource:
        """Return the events; a stream has one form only, as at OpenAI."""
        return TranscriptEvents(answer)


class TranscriptEvents:
    """`transcript.text.delta` for each piece, and at the end one `transcript.text.done` with all of it."""

    def __init__(self, chunks: EventSource) -> None:
        self._chunks = chunks
        self._texts: list[str] = []
        self._usage: JsonObject = {}
        self._ended = False

    async def read(self) -> bytes:
        """Return the next events; raises what reading the chunks raises."""
        while events := await self._chunks.read():
            rewritten = b"".join(self._rewritten(event) for event in events.split(b"\n\n") if event)
            if rewritten:
                return rewritten
        if self._ended:
            return b""
        self._ended = True
        return _event({"type": "transcript.text.done", "text": "".join(self._texts).strip(), **self._usage})

    async def pump(self, write: Sink) -> None:
        """Give nothing: every chunk has to be rewritten."""

    def _rewritten(self, event: bytes) -> bytes:
        chunk: Any = orjson.loads(event.removeprefix(b"data: "))
        self._usage = _usage(chunk.get("usage")) or self._usage
        texts = [choice["delta"].get("content") or "" for choice in chunk["choices"]]
        text = "".join(texts)
        if not text:
            return b""
        self._texts.append(text)
        return _event({"type": "transcript.text.delta", "delta": text})


def _event(content: JsonObject) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


def _usage(counted: JsonObject | None) -> JsonObject:
    """Return `usage` as OpenAI writes it for transcriptions that are counted in tokens."""
    if not counted:
        return {}
    prompt, completion = counted["prompt_tokens"], counted["completion_tokens"]
    details = {"audio_tokens": AUDIO_TOKENS, "text_tokens": max(0, prompt - AUDIO_TOKENS)}
    return {
        "usage": {
            "type": "tokens",
            "input_tokens": prompt,
            "input_token_details": details,
            "output_tokens": completion,
            "total_tokens": prompt + completion,
        }
    }
