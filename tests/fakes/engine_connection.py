"""One client connection of the scripted engine: reads requests, plays their scripts, counts how they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from typing import cast

from tests.fakes import vllm_bytes as vllm
from tests.fakes.behaviours import BEHAVIOURS, Play, Script
from tests.fakes.engine_state import GENERATIONS, Engine, Request, route


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
        self._discards = False

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
        if not self._discards:
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
        if not self.transport.is_closing() and not self.transport.is_reading():
            # The rest of a body that the answer did not wait for.
            self._discards = True
            self._buffer.clear()
            self.transport.resume_reading()
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
            if self.engine.service_seconds:
                async with self.engine.serving:
                    await asyncio.sleep(self.engine.service_seconds)
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
