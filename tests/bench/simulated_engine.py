"""A vLLM that costs next to nothing: recorded bytes over raw asyncio, so that it is never what a benchmark measures.

    python -m tests.bench.simulated_engine [--port N] [--itl-ms X] [--model NAME]

Prints `listening PORT`. A request that is not streamed is answered at once. A stream gets its head at once and, as from
vLLM, its role chunk together with its first token; then one token each `--itl-ms` (0: as fast as the socket takes them)
until max_tokens. Usage is on every chunk, on the last or nowhere, as the request asks.

    GET /health, /v1/models, /metrics    as vLLM
    GET /sim                             {finished, aborted, running, tokens}

For faults and scripts there is `tests.fakes.engine`; this one only counts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import re
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import cast

import uvloop

from tests.bench.recorded import RecordedStream, recorded_answer, recorded_metrics, recorded_stream

_LENGTH = re.compile(rb"(?i)content-length:\s*(\d+)")
_STREAMED = re.compile(rb'"stream"\s*:\s*true')
_MAX_TOKENS = re.compile(rb'"max_(?:completion_)?tokens"\s*:\s*(\d+)')
_INCLUDE_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_CONTINUOUS_USAGE = re.compile(rb'"continuous_usage_stats"\s*:\s*true')
_GENERATIONS = (b"/v1/chat/completions", b"/v1/completions")
_DEFAULT_TOKENS = 64
_BURST_TOKENS = 32
"""Without a pace, so many tokens are written before the loop's other sockets get their turn."""


@dataclass(slots=True)
class Counts:
    """What `/sim` says."""

    finished: int = 0
    aborted: int = 0
    running: int = 0
    tokens: int = 0


class SimulatedEngine:
    """The answers, made once, and the counts."""

    def __init__(self, model: str, itl_seconds: float) -> None:
        self.itl_seconds = itl_seconds
        self.counts = Counts()
        self.unary = recorded_answer("unary.http", model)
        self._models = recorded_answer("models.http", model)
        self._metrics = recorded_metrics(model)
        self._continuous = recorded_stream("stream.http", model)
        self._usage_last = recorded_stream("stream_usage_last.http", model)
        self._no_usage = recorded_stream("stream_no_usage.http", model)

    def script(self, body: bytes) -> Script:
        """Return what the stream that `body` asks for will say."""
        found = _MAX_TOKENS.search(body)
        recorded = self._no_usage
        if _INCLUDE_USAGE.search(body):
            recorded = self._continuous if _CONTINUOUS_USAGE.search(body) else self._usage_last
        return script(recorded, int(found[1]) if found else _DEFAULT_TOKENS)

    def page(self, path: bytes) -> bytes:
        """Return the answer to a GET."""
        if path == b"/v1/models":
            return self._models
        if path == b"/metrics":
            return _response(HTTPStatus.OK, self._metrics % self.counts.running, "text/plain; version=0.0.4")
        if path == b"/sim":
            return _response(HTTPStatus.OK, json.dumps(asdict(self.counts)).encode())
        if path == b"/health":
            return _response(HTTPStatus.OK, b"")
        return _response(HTTPStatus.NOT_FOUND, b'{"detail":"Not Found"}')


@dataclass(frozen=True, slots=True)
class Script:
    """A stream, ready to send: the role chunk is in the first token's bytes, the end in the last one's."""

    head: bytes
    tokens: tuple[bytes, ...]


@functools.lru_cache(maxsize=64)
def script(recorded: RecordedStream, count: int) -> Script:
    """Return the bytes of a stream of `count` tokens."""
    tokens = recorded.tokens(count)
    tokens[0] = recorded.role + tokens[0]
    tokens[-1] += recorded.tail(count)
    return Script(recorded.head, tuple(tokens))


class EngineProtocol(asyncio.Protocol):
    """One client connection; one request at a time, kept alive. A stream is a chain of timers, no task."""

    transport: asyncio.Transport

    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._script: Script | None = None
        self._sent = 0
        self._due = 0.0
        self._timer: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: a stream that still runs is aborted."""
        if self._script is not None:
            self._engine.counts.aborted += 1
            self._end_stream()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1].partition(b"?")[0]
        if b"\r\ntransfer-encoding:" in head.lower():
            self.transport.write(_response(HTTPStatus.LENGTH_REQUIRED, b""))
            self.transport.close()
        elif path not in _GENERATIONS:
            self.transport.write(self._engine.page(path))
        elif _STREAMED.search(body):
            self._begin_stream(self._engine.script(body))
        else:
            self._engine.counts.finished += 1
            self.transport.write(self._engine.unary)

    def _begin_stream(self, script: Script) -> None:
        self._engine.counts.running += 1
        self._script, self._sent = script, 0
        self.transport.write(script.head)
        self._due = self._loop.time() + self._engine.itl_seconds
        self._timer = self._loop.call_at(self._due, self._send_token)

    def _send_token(self) -> None:
        script = self._script
        if script is None:
            return
        paced = self._engine.itl_seconds > 0
        upto = min(self._sent + (1 if paced else _BURST_TOKENS), len(script.tokens))
        for token in script.tokens[self._sent : upto]:
            self.transport.write(token)
        self._engine.counts.tokens += upto - self._sent
        self._sent = upto
        if upto == len(script.tokens):
            self._engine.counts.finished += 1
            self._end_stream()
            return
        # From the time it was due, not from now: lateness does not add up.
        self._due += self._engine.itl_seconds
        self._timer = (
            self._loop.call_at(self._due, self._send_token) if paced else self._loop.call_soon(self._send_token)
        )

    def _end_stream(self) -> None:
        self._engine.counts.running -= 1
        self._script = None
        if self._timer is not None:
            self._timer.cancel()


def _response(status: HTTPStatus, body: bytes, content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


async def serve(port: int, engine: SimulatedEngine) -> None:
    """Listen until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: EngineProtocol(engine), "127.0.0.1", port, backlog=4096)
    print(f"listening {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="tests.bench.simulated_engine", description="A vLLM that costs nothing.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--itl-ms", type=float, default=20.0, help="time between a stream's tokens; 0: none")
    parser.add_argument("--model", default="gemma-3n")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(options.port, SimulatedEngine(options.model, options.itl_ms / 1000)))


if __name__ == "__main__":
    main()
