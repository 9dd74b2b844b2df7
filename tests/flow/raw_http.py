"""HTTP over a bare socket: requests that no client library would send, and answers as they came."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def error(self) -> dict[str, Any]:
        """Return the error; fails unless it has OpenAI's shape and the response names its request."""
        assert self.headers["content-type"] == "application/json", self
        assert self.headers["x-request-id"].startswith("req_"), self
        envelope = json.loads(self.body)
        assert list(envelope) == ["error"], self
        error: dict[str, Any] = envelope["error"]
        assert sorted(error) == ["code", "message", "param", "type"], self
        assert isinstance(error["message"], str), self
        assert error["message"], self
        assert isinstance(error["type"], str), self
        assert isinstance(error["param"], str | None), self
        assert isinstance(error["code"], str | None), self
        return error


class RawConnection:
    """A connection that sends whatever it is given; opened anew when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """Send bytes, and with `end` a FIN after them."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        writer = self._streams[1]
        writer.write(data)
        await writer.drain()
        if end:
            writer.write_eof()

    async def read(self, timeout_seconds: float = 20.0) -> Answer | None:
        """Return the next answer; None if the server closes without one."""
        assert self._streams is not None
        reader = self._streams[0]
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await _read_answer(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close()
            return None
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Close it, whatever is under way."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head[:-4].split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(start.split(" ")[1])
    if status == 100:
        return await _read_answer(reader)
    if headers.get("transfer-encoding") != "chunked":
        return Answer(status, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return Answer(status, headers, body)
