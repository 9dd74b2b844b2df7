"""Clients that ask for short answers and, many of them, leave: at every moment at which a client can.

Raw asyncio, like the load generator. Who stays checks its answer and uses its connection again.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from random import Random

_HEAD_END = b"\r\n\r\n"
_LAST_HTTP_CHUNK = b"0\r\n\r\n"
_DONE = b"data: [DONE]"
_ERROR = b'data: {"error"'
_LENGTH = re.compile(rb"(?i)content-length:\s*(\d+)")
_PATIENCE_SECONDS = 120.0
_LONGEST_WAIT_SECONDS = 0.05
_RESET = struct.pack("ii", 1, 0)
"""A linger time of 0: closing sends RST in place of FIN."""


class Moment(StrEnum):
    """When a client leaves, in the order of a request's life."""

    IN_HEAD = "in the request's head"
    IN_BODY = "in its body"
    SENT = "as soon as it is sent"
    WAITING = "a moment later"
    AT_HEAD = "at the answer's head"
    AMID = "amid the answer"


MOMENTS = tuple(Moment)


@dataclass(frozen=True, slots=True)
class Door:
    """Where to ask, and as whom."""

    port: int
    key: str
    model: str


class _Left(Exception):
    """The client is gone, as it was to be."""


class Visitor:
    """One client, with one request at a time; `ends` counts how they ended: `whole`, a Moment, or what is wrong."""

    def __init__(self, door: Door, random: Random, leaving: float, ends: Counter[str]) -> None:
        self._door = door
        self._random = random
        self._leaving = leaving
        self._ends = ends
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def visit(self, requests: int, until: float) -> None:
        """Ask so many times, or until that moment, then go."""
        for number in range(requests):
            if time.monotonic() >= until:
                break
            leaves = self._random.choice(MOMENTS) if self._random.random() < self._leaving else None
            self._ends[await self._ask(number, leaves)] += 1
        self._close()

    async def _ask(self, number: int, leaves: Moment | None) -> str:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                streamed = number % 2 == 0
                await self._send(self._request(number, streamed), leaves)
                end = await self._receive(streamed, leaves)
        except _Left:
            self._close(reset=self._random.random() < 0.5)
            return str(leaves)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            self._close()
            return f"lost: {type(error).__name__}"
        if leaves is not None:
            # It was to leave amid an answer that came in one piece: it leaves between two requests.
            self._close()
        return end

    def _request(self, number: int, streamed: bool) -> bytes:
        text = f"visit {number} " + "word " * self._random.randint(1, 12)
        body = {"model": self._door.model, "messages": [{"role": "user", "content": text}], "max_tokens": 16}
        encoded = json.dumps(body | {"stream": True} if streamed else body).encode()
        lines = ["POST /v1/chat/completions HTTP/1.1", "Host: gateway", f"Authorization: Bearer {self._door.key}"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(encoded)}", "", ""]
        return "\r\n".join(lines).encode() + encoded

    async def _send(self, request: bytes, leaves: Moment | None) -> None:
        if self._writer is None or self._writer.is_closing() or self._reader.at_eof():
            self._close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._door.port)
        head_bytes = request.index(_HEAD_END)
        if leaves is Moment.IN_HEAD:
            request = request[: self._random.randint(1, head_bytes)]
        elif leaves is Moment.IN_BODY:
            request = request[: self._random.randint(head_bytes + len(_HEAD_END), len(request) - 1)]
        self._writer.write(request)
        if leaves is Moment.WAITING:
            await asyncio.sleep(self._random.uniform(0, _LONGEST_WAIT_SECONDS))
        elif leaves in (Moment.IN_HEAD, Moment.IN_BODY):
            # So that the server has seen what there is, more often than not.
            await asyncio.sleep(self._random.uniform(0, 0.002))
        if leaves in (Moment.IN_HEAD, Moment.IN_BODY, Moment.SENT, Moment.WAITING):
            raise _Left

    async def _receive(self, streamed: bool, leaves: Moment | None) -> str:
        head = await self._reader.readuntil(_HEAD_END)
        if leaves is Moment.AT_HEAD:
            raise _Left
        length = _LENGTH.search(head)
        if length is not None:
            await self._reader.readexactly(int(length[1]))
        else:
            last = await self._last_of_stream(leaves)
            if _DONE not in last or _ERROR in last:
                return "cut"
        status = head.split(b" ", 2)[1].decode()
        if status != "200":
            return f"status {status}"
        return "whole" if (length is None) is streamed else "of the wrong kind"

    async def _last_of_stream(self, leaves: Moment | None) -> bytes:
        """Return the last bytes of a stream."""
        kept = b""
        leave_after = self._random.randint(1, 6) if leaves is Moment.AMID else 0
        while not kept.endswith(_LAST_HTTP_CHUNK):
            part = await self._reader.read(65_536)
            if not part:
                raise asyncio.IncompleteReadError(kept, None)
            kept = (kept + part)[-512:]
            leave_after -= 1
            if leave_after == 0:
                raise _Left
        return kept

    def _close(self, *, reset: bool = False) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if reset:
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
