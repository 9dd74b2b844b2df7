"""Stands between gateway and engine, passes every byte on, and remembers the bodies of the chat completions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from types import TracebackType
from typing import Any, Self

_HEAD = re.compile(rb"POST (\S+) HTTP/1\.1\r\n(.*?)\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Recorder:
    """`async with Recorder("127.0.0.1", port) as recorder:` then `recorder.url`, and `recorder.bodies` afterwards."""

    def __init__(self, host: str, port: int) -> None:
        self._engine = host, port
        self._sent: list[bytearray] = []
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Return what was asked, in the order of the connections and, on each, of the requests."""
        return [body for sent in self._sent for body in _completions(bytes(sent))]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = bytearray()
        self._sent.append(sent)
        from_engine, to_engine = await asyncio.open_connection(*self._engine)
        try:
            await asyncio.gather(_pass_on(reader, to_engine, sent), _pass_on(from_engine, writer, bytearray()))
        finally:
            to_engine.close()
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(65536):
            seen += part
            writer.write(part)
            await writer.drain()
    writer.close()


def _completions(sent: bytes) -> list[dict[str, Any]]:
    bodies = []
    for head in _HEAD.finditer(sent):
        length = _LENGTH.search(head[2])
        if length is not None and head[1] == b"/v1/chat/completions":
            bodies.append(json.loads(sent[head.end() : head.end() + int(length[1])]))
    return bodies
