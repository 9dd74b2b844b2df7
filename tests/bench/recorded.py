"""The bytes that the real vLLM put on the wire, cut into what a simulated engine sends. Pure.

The shapes are the recordings' own, to the byte. Only the model's name, the token counts and the framing that depends on
them are written anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

RECORDINGS = Path(__file__).resolve().parents[1] / "fakes" / "recordings"

_HEAD_END = b"\r\n\r\n"
_LAST_HTTP_CHUNK = b"0\r\n\r\n"
_RECORDED_NAME = b"gemma-3n-demo"
_CONTENT_LENGTH = re.compile(rb"(?<=content-length: )\d+")
_COUNTS = re.compile(rb'"prompt_tokens":(\d+),"total_tokens":\d+,"completion_tokens":\d+')
_RUNNING = re.compile(rb"(?m)^(vllm:num_requests_running\{[^}]*\}) .*$")


@dataclass(frozen=True, slots=True)
class RecordedStream:
    """One recorded stream: its head, its events by what they are for, and its end."""

    head: bytes
    role: bytes
    content: bytes
    last: bytes
    usage: bytes
    end: bytes

    def tokens(self, count: int) -> list[bytes]:
        """Return `count` content events, each an HTTP chunk, with the usage growing where the recording has it."""
        middle = [with_counts(self.content, number) for number in range(1, count)]
        return [*middle, with_counts(self.last, count)]

    def tail(self, count: int) -> bytes:
        """Return what follows the last token of `count`: the usage chunk where there is one, `[DONE]`, the end."""
        return with_counts(self.usage, count) + self.end


def recorded_answer(name: str, model: str) -> bytes:
    """Return a recorded answer with a content-length, naming `model`."""
    head, _, body = (RECORDINGS / name).read_bytes().partition(_HEAD_END)
    body = body.replace(_RECORDED_NAME, model.encode())
    return _CONTENT_LENGTH.sub(b"%d" % len(body), head) + _HEAD_END + body


def recorded_stream(name: str, model: str) -> RecordedStream:
    """Return a recorded stream, naming `model`. Its order is vLLM's: role, contents, usage if asked for, `[DONE]`."""
    head, _, body = (RECORDINGS / name).read_bytes().partition(_HEAD_END)
    text = _unchunked(body).replace(_RECORDED_NAME, model.encode())
    role, *contents, done = [event + b"\n\n" for event in text.split(b"\n\n") if event]
    usage = contents.pop() if b'"choices":[]' in contents[-1] else b""
    return RecordedStream(
        head=head + _HEAD_END,
        role=chunked(role),
        content=chunked(contents[1]),
        last=chunked(contents[-1]),
        usage=chunked(usage) if usage else b"",
        end=chunked(done) + _LAST_HTTP_CHUNK,
    )


def recorded_metrics(model: str) -> bytes:
    """Return the recorded `/metrics`, naming `model`, with `%d` where the number of running requests stands."""
    text = (RECORDINGS / "metrics.txt").read_bytes().replace(b"%", b"%%").replace(_RECORDED_NAME, model.encode())
    return _RUNNING.sub(rb"\1 %d", text)


def with_counts(chunk: bytes, completion_tokens: int) -> bytes:
    """Return an HTTP chunk whose usage says `completion_tokens`; one without usage as it is."""
    _, _, event = chunk.partition(b"\r\n")
    found = _COUNTS.search(event)
    if found is None:
        return chunk
    prompt_tokens = int(found[1])
    counts = (prompt_tokens, prompt_tokens + completion_tokens, completion_tokens)
    text = b'"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d' % counts
    return chunked(event[: found.start()] + text + event[found.end() : -2])


def chunked(data: bytes) -> bytes:
    """Return `data` as one HTTP chunk, which is how uvicorn sends each event."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _unchunked(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(body[:length])
        body = body[length + 2 :]
    return b"".join(parts)
