"""A load generator for an OpenAI chat endpoint: raw asyncio, so that it costs little beside what it measures.

    python -m tests.bench.load URL --concurrency N [--seconds S | --requests R] [--stream --tokens T] [--key KEY]

Each of N connections has one request at a time: the next is sent when the answer is complete. Every answer is checked:
its status is 200, a stream holds no error event and ends with `[DONE]`. Prints one JSON line:

    ok, errors (by kind), seconds, rps, p50_ms, p99_ms; streamed also chunks, chunks_per_second,
    ttft_p50_ms, ttft_p99_ms (to the first event), itl_p50_ms, itl_p99_ms (between reads that hold an event)
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

import uvloop

SDK_HEADERS = (
    "Accept-Encoding: gzip, deflate",
    "Connection: keep-alive",
    "accept: application/json",
    "content-type: application/json",
    "user-agent: AsyncOpenAI/Python 3.57.0",
    "x-stainless-lang: python",
    "x-stainless-package-version: 3.57.0",
    "x-stainless-os: Linux",
    "x-stainless-arch: x64",
    "x-stainless-runtime: CPython",
    "x-stainless-runtime-version: 3.11.7",
    "x-stainless-async: async:asyncio",
    "x-stainless-retry-count: 0",
    "x-stainless-read-timeout: 600",
)
"""What the openai SDK sends beside host, credential and length; a test compares. Heads cost gateways as bodies do."""

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"(?i)content-length:\s*(\d+)")
_EVENT = b"data: {"
_ERROR = b'data: {"error"'
_DONE = b"data: [DONE]"
_LAST_HTTP_CHUNK = b"0\r\n\r\n"
_KEPT = 64
"""Bytes of an answer's end that are kept: more than `[DONE]` with its framing, or than an event's first bytes."""

_MAX_GAPS = 2_000_000
_PATIENCE_SECONDS = 120.0
"""How long after the last request was sent an answer may take, until it counts as an error."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. It ends after `seconds`, or after `requests` where that is not 0."""

    url: str
    concurrency: int
    seconds: float = 5.0
    requests: int = 0
    stream: bool = False
    tokens: int = 64
    key: str = "sk-bench"
    model: str = "gemma-3n"
    sessions: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """What has come so far. Times in seconds."""

    ok: int = 0
    chunks: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)


def request_bytes(load: Load, session: str | None) -> bytes:
    """Return the request as it goes on the wire."""
    url = urlsplit(load.url)
    system = {"role": "system", "content": "You are a helpful assistant."}
    user = {"role": "user", "content": "Tell me about the history of the printing press in Europe, in a few words."}
    body: dict[str, Any] = {"model": load.model, "messages": [user] if session else [system, user]}
    body |= {"max_tokens": load.tokens, "temperature": 0.7}
    if load.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    encoded = json.dumps(body).encode()
    lines = [f"POST {url.path} HTTP/1.1", f"Host: {url.netloc}", *SDK_HEADERS, f"Authorization: Bearer {load.key}"]
    lines += [f"X-Session-Id: {session}"] if session else []
    return "\r\n".join([*lines, f"Content-Length: {len(encoded)}", "", ""]).encode() + encoded


class Connection(asyncio.Protocol):
    """One connection that asks again and again, until `more` has no further request."""

    transport: asyncio.Transport

    def __init__(
        self, more: Callable[[], bytes | None], tally: Tally, ended: asyncio.Future[None], *, streamed: bool
    ) -> None:
        self._more = more
        self._tally = tally
        self._streamed = streamed
        self._ended = ended
        self._asking = False
        self._forget()

    def _forget(self) -> None:
        self._head: bytes | None = None
        self._buffer = b""
        self._kept = b""
        self._left = 0
        self._failed = ""
        self._heard_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast(asyncio.Transport, transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if self._asking:
            self._tally.errors["connection lost"] += 1
        if not self._ended.done():
            self._ended.set_result(None)

    def _ask(self) -> None:
        request = self._more()
        if request is None:
            self._asking = False
            self.transport.close()
            return
        self._forget()
        self._asking = True
        self._asked_at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._head is None:
            self._buffer += data
            head, end, data = self._buffer.partition(_HEAD_END)
            if not end:
                return
            self._take_head(head)
        if self._left:
            self._left -= len(data)
            if self._left <= 0:
                self._complete()
        elif data:
            self._take_chunked(data)

    def _take_head(self, head: bytes) -> None:
        self._head = head
        status = head.split(b" ", 2)[1]
        if status != b"200":
            self._failed = f"status {status.decode()}"
        found = _LENGTH.search(head)
        self._left = int(found[1]) if found else 0

    def _take_chunked(self, data: bytes) -> None:
        known = self._kept
        self._kept = (known + data)[-_KEPT:]
        # An event's first bytes may have come in two reads: what the last read's end could lack is looked at again.
        events = (known[-len(_EVENT) + 1 :] + data).count(_EVENT)
        if events:
            self._note_events(events)
        if _ERROR in known[-len(_ERROR) + 1 :] + data:
            self._failed = self._failed or "error event"
        if self._kept.endswith(_LAST_HTTP_CHUNK):
            if self._streamed and _DONE not in self._kept:
                self._failed = self._failed or "no [DONE]"
            self._complete()

    def _note_events(self, events: int) -> None:
        tally = self._tally
        now = time.perf_counter()
        tally.chunks += events
        if not self._heard_at:
            tally.first_tokens.append(now - self._asked_at)
        elif len(tally.gaps) < _MAX_GAPS:
            tally.gaps.append(now - self._heard_at)
        self._heard_at = now

    def _complete(self) -> None:
        tally = self._tally
        if self._failed:
            tally.errors[self._failed] += 1
        else:
            tally.ok += 1
            tally.latencies.append(time.perf_counter() - self._asked_at)
        if b"\r\nconnection: close" in (self._head or b"").lower():
            self._asking = False
            self.transport.close()
        else:
            self._ask()


class Generator:
    """Runs one Load and says what came of it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._tally = Tally()
        ids: tuple[str | None, ...] = load.sessions or (None,)
        self._requests: Iterator[bytes] = cycle([request_bytes(load, session) for session in ids])
        self._sent = 0
        self._stop_at = 0.0

    async def run(self) -> dict[str, Any]:
        """Send it all; return the report."""
        started = time.perf_counter()
        load = self._load
        self._stop_at = float("inf") if load.requests else started + load.seconds
        workers = [asyncio.create_task(self._work(urlsplit(load.url))) for _ in range(load.concurrency)]
        patience = _PATIENCE_SECONDS + (0 if load.requests else load.seconds)
        _, unanswered = await asyncio.wait(workers, timeout=patience)
        if unanswered:
            self._tally.errors["no answer"] += len(unanswered)
        return report(self._tally, time.perf_counter() - started, streamed=load.stream)

    async def _work(self, url: SplitResult) -> None:
        loop = asyncio.get_running_loop()
        assert url.hostname is not None
        while self._wanted():
            ended: asyncio.Future[None] = loop.create_future()
            try:
                await loop.create_connection(functools.partial(self._connection, ended), url.hostname, url.port or 80)
            except OSError as error:
                self._tally.errors[f"connect: {type(error).__name__}"] += 1
                self._sent += 1
                await asyncio.sleep(0.05)
                continue
            await ended

    def _connection(self, ended: asyncio.Future[None]) -> Connection:
        return Connection(self._next, self._tally, ended, streamed=self._load.stream)

    def _wanted(self) -> bool:
        if self._load.requests:
            return self._sent < self._load.requests
        return time.perf_counter() < self._stop_at

    def _next(self) -> bytes | None:
        if not self._wanted():
            return None
        self._sent += 1
        return next(self._requests)


def report(tally: Tally, seconds: float, *, streamed: bool) -> dict[str, Any]:
    """Return the JSON line's members."""
    members: dict[str, Any] = {
        "ok": tally.ok,
        "errors": dict(tally.errors),
        "seconds": round(seconds, 3),
        "rps": round(tally.ok / seconds, 1),
        **_percentiles("", tally.latencies),
    }
    if streamed:
        members |= {"chunks": tally.chunks, "chunks_per_second": round(tally.chunks / seconds)}
        members |= {**_percentiles("ttft_", tally.first_tokens), **_percentiles("itl_", tally.gaps)}
    return members


def _percentiles(name: str, seconds: list[float]) -> dict[str, float | None]:
    ordered = sorted(seconds)
    return {
        f"{name}p{percent}_ms": round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000, 3)
        if ordered
        else None
        for percent in (50, 99)
    }


def main() -> None:
    """Read the command line, send, print."""
    parser = argparse.ArgumentParser(prog="tests.bench.load", description="A load generator for chat completions.")
    parser.add_argument("url")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--requests", type=int, default=0, help="end after so many, whatever --seconds says")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--key", default="sk-bench")
    parser.add_argument("--model", default="gemma-3n")
    parser.add_argument("--sessions", type=Path, help="a file with session ids, one a line, used in turn")
    options = vars(parser.parse_args())
    sessions = options.pop("sessions")
    load = Load(**options, sessions=tuple(sessions.read_text().split()) if sessions else ())
    print(json.dumps(uvloop.run(Generator(load).run())))


if __name__ == "__main__":
    main()
