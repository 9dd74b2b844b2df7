"""A scripted vLLM: the same HTTP and the same bytes, raw asyncio, and on request every way to fail.

    python -m tests.fakes.engine --port N [--unix PATH] [--model NAME] [--itl-ms X] [--tokens N] [--keep-alive S]

Prints `listening PORT`. Beside vLLM's routes:

    POST /_script   {"behaviour": NAME, "times": 1, "path": null, ...parameters}: the next `times` requests (-1: all)
                    to `path` (null: any generation) get it; see behaviours.py. `unread_body` in the parameters:
                    answer as soon as the head is here and never read the body.
    POST /_set      {"health": 503, "waiting": 3, "kv": 0.9}: what /health and /metrics say
    POST /_release  lets requests under `hold` finish
    POST /_reset    forgets scripts and counts
    GET  /_stats    {seen, running, finished, aborted, aborts: [{request_id, at}], open_connections, accepted, requests}
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, cast

from tests.fakes import vllm_bytes as vllm
from tests.fakes.behaviours import BEHAVIOURS, Play, Script

GENERATIONS = ("/v1/chat/completions", "/v1/completions")
MAX_MODEL_LEN = 32_768


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `at` is CLOCK_MONOTONIC, which all processes of a machine share."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    connection: int
    at: float


@dataclass(slots=True)
class Engine:
    """Everything that the process knows."""

    model: str
    itl_seconds: float
    tokens: int
    keep_alive_seconds: float
    scripts: list[Script] = field(default_factory=list)
    requests: deque[Request] = field(default_factory=lambda: deque(maxlen=100))
    connections: set[Connection] = field(default_factory=set)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    shown: dict[str, Any] = field(default_factory=lambda: {"health": 200, "waiting": 0, "kv": 0.0})
    aborts: list[dict[str, Any]] = field(default_factory=list)
    accepted: int = 0
    seen: int = 0
    running: int = 0
    finished: int = 0
    refused: int = 0
    iterations: int = 0

    def take_script(self, path: str, *, reused: bool) -> Script:
        """Return the script for a request to `path` and count it."""
        for script in self.scripts:
            fits = script.path == path or (script.path is None and path in GENERATIONS)
            if fits and (reused or script.behaviour != "stale"):
                script.times -= 1
                if script.times == 0:
                    self.scripts.remove(script)
                return script
        return Script("normal")

    def stats(self) -> vllm.Json:
        """Return what `/_stats` shows."""
        counts = {name: getattr(self, name) for name in ("seen", "running", "finished", "refused", "accepted")}
        served = [connection for connection in self.connections if not connection.control]
        aborted = {"aborted": len(self.aborts), "aborts": self.aborts, "open_connections": len(served)}
        return counts | aborted | {"requests": [dataclasses.asdict(request) for request in self.requests]}

    def metrics(self) -> bytes:
        """Return the metrics that routing and supervision read, in Prometheus' text format."""
        label = f'{{engine="0",model_name="{self.model}"}}'
        rejections = f'{{engine="0",model_name="{self.model}",reason="max_num_queued_reqs"}}'
        rows = [
            ("gauge", "vllm:num_requests_running", label, self.running),
            ("gauge", "vllm:num_requests_waiting", label, self.shown["waiting"]),
            ("gauge", "vllm:kv_cache_usage_perc", label, self.shown["kv"]),
            ("counter", "vllm:generation_tokens_total", label, self.iterations),
            ("counter", "vllm:iteration_tokens_total_count", label, self.iterations),
            ("counter", "vllm:admission_rejections_total", rejections, self.refused),
        ]
        text = "".join(f"# TYPE {name} {kind}\n{name}{labels} {value:.1f}\n" for kind, name, labels, value in rows)
        return text.encode()

    def reset(self) -> None:
        """Forget scripts and counts, and let everything on hold go."""
        self.released.set()
        self.released = asyncio.Event()
        self.scripts.clear()
        self.requests.clear()
        self.aborts.clear()
        self.seen = self.finished = self.refused = self.iterations = 0
        self.shown = {"health": 200, "waiting": 0, "kv": 0.0}


class Connection(asyncio.Protocol):
    """One client connection; answers one request after another."""

    transport: asyncio.Transport

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.control = False
        self.number = 0
        self._served = 0
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._writable.set()
        self.engine.accepted += 1
        self.number = self.engine.accepted
        self.engine.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.engine.connections.discard(self)
        self._writable.set()
        if self._idle:
            self._idle.cancel()
        if self._task:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def _next(self) -> None:
        if self._task:
            return
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        start, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        method, path, _ = start.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if self._leaves_body_unread(path):
            self.transport.pause_reading()
            body = b""
        else:
            whole = end + 4 + int(headers.get("content-length", 0))
            if len(self._buffer) < whole:
                return
            body = bytes(self._buffer[end + 4 : whole])
            del self._buffer[:whole]
        text = body.decode("utf-8", "replace")
        self._start(Request(method, path.partition("?")[0], headers, text, self.number, time.monotonic()))

    def _leaves_body_unread(self, path: str) -> bool:
        scripts = self.engine.scripts
        return bool(scripts) and path in GENERATIONS and bool(scripts[0].parameters.get("unread_body"))

    def _start(self, request: Request) -> None:
        if self._idle:
            self._idle.cancel()
        self.control = request.path.startswith("/_")
        if not self.control:
            self.engine.seen += 1
            self.engine.requests.append(request)
        self._task = asyncio.get_running_loop().create_task(self._answer(request))
        self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self._served += 1
        if not task.cancelled() and task.exception():
            self.transport.abort()
        if not self.transport.is_closing():
            seconds = self.engine.keep_alive_seconds
            self._idle = asyncio.get_running_loop().call_later(seconds, self.transport.close)
            self._next()

    async def _answer(self, request: Request) -> None:
        script = self.engine.take_script(request.path, reused=self._served > 0) if not self.control else None
        if script and request.path in GENERATIONS and request.method == "POST":
            await self._generate(request, script)
        elif script and script.behaviour != "normal":
            await self._play(request, script, {})
        else:
            await self.write(route(self.engine, request))

    async def _generate(self, request: Request, script: Script) -> None:
        try:
            body = json.loads(request.body or "{}")
        except ValueError as exc:
            await self.write(vllm.json_response(400, vllm.error(400, f"Invalid JSON: {exc}", "BadRequestError")))
            return
        if body.get("model", self.engine.model) != self.engine.model:
            unknown = vllm.unknown_model(body["model"], self.engine.model)
            await self.write(vllm.json_response(404, unknown))
        elif script.behaviour == "refuse_503":
            self.engine.refused += 1
            await self._play(request, script, body)
        else:
            await self._run(request, script, body)

    async def _run(self, request: Request, script: Script, body: vllm.Json) -> None:
        self.engine.running += 1
        try:
            await self._play(request, script, body)
            self.engine.finished += 1
        except asyncio.CancelledError:
            request_id = request.headers.get("x-request-id", "")
            self.engine.aborts.append({"request_id": request_id, "at": time.monotonic()})
            raise
        finally:
            self.engine.running -= 1

    async def _play(self, request: Request, script: Script, body: vllm.Json) -> None:
        made = vllm.generation(
            body,
            chat=request.path != GENERATIONS[1],
            model=self.engine.model,
            request_id=request.headers.get("x-request-id", f"fake-{self.engine.seen}"),
            tokens=int(script.parameters.get("tokens", self.engine.tokens)),
        )
        itl_seconds = float(script.parameters.get("itl_ms", self.engine.itl_seconds * 1000)) / 1000
        play = Play(self, made, script.parameters, itl_seconds, self.engine.released)
        await BEHAVIOURS[script.behaviour](play)

    async def write(self, data: bytes) -> None:
        """Write, and wait while the reader is slow."""
        self.transport.write(data)
        await self._writable.wait()

    def token(self) -> None:
        """Count one generated token."""
        self.engine.iterations += 1

    def close(self) -> None:
        """Send what is buffered, then FIN."""
        self.transport.close()

    def reset(self) -> None:
        """Send RST: a linger time of 0 makes closing one."""
        sock: socket.socket = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def finish_writing(self) -> None:
        """Send FIN and go on reading."""
        self.transport.write_eof()


def route(engine: Engine, request: Request) -> bytes:
    """Answer everything that does not generate."""
    if request.path.startswith("/_"):
        return _control(engine, request)
    if request.path == "/health":
        return vllm.response(int(engine.shown["health"]), b"")
    if request.path == "/metrics":
        return vllm.response(200, engine.metrics(), "text/plain; version=1.0.0; charset=utf-8")
    if request.path == "/version":
        return vllm.json_response(200, {"version": "0.32.0"})
    if request.path == "/v1/models":
        return vllm.json_response(200, {"object": "list", "data": [_model_card(engine.model)]})
    if request.path == "/tokenize":
        count = vllm.prompt_tokens(json.loads(request.body))
        answer = {"count": count, "max_model_len": MAX_MODEL_LEN, "tokens": list(range(count)), "token_strs": None}
        return vllm.json_response(200, answer)
    return vllm.json_response(404, {"detail": "Not Found"})


def _model_card(model: str) -> vllm.Json:
    names = {"id": model, "object": "model", "created": vllm.CREATED, "owned_by": "vllm", "root": model}
    return names | {"parent": None, "max_model_len": MAX_MODEL_LEN, "permission": []}


def _control(engine: Engine, request: Request) -> bytes:
    given = json.loads(request.body or "{}")
    if request.path == "/_stats":
        return vllm.json_response(200, engine.stats())
    if request.path == "/_script":
        known = {name: given.pop(name) for name in ("behaviour", "times", "path") if name in given}
        if known.get("behaviour") not in BEHAVIOURS:
            return vllm.json_response(400, {"unknown": known, "known": sorted(BEHAVIOURS)})
        engine.scripts.append(Script(**known, parameters=given))
    elif request.path == "/_set":
        engine.shown |= given
    elif request.path == "/_release":
        engine.released.set()
        engine.released = asyncio.Event()
    elif request.path == "/_reset":
        engine.reset()
    else:
        return vllm.json_response(404, {"detail": "Not Found"})
    return vllm.json_response(200, {})


async def serve(arguments: argparse.Namespace) -> None:
    """Listen until killed."""
    engine = Engine(arguments.model, arguments.itl_ms / 1000, arguments.tokens, arguments.keep_alive)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(engine), "127.0.0.1", arguments.port, backlog=4096)
    if arguments.unix:
        await loop.create_unix_server(lambda: Connection(engine), arguments.unix, backlog=4096)
    print(f"listening {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="tests.fakes.engine", description="A scripted vLLM.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--unix", default="")
    parser.add_argument("--model", default="gemma-3n")
    parser.add_argument("--itl-ms", type=float, default=0.0, help="time between tokens")
    parser.add_argument("--tokens", type=int, default=0, help="length of an answer; 0: that of its echo")
    parser.add_argument("--keep-alive", type=float, default=75.0, help="seconds an idle connection is kept")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
