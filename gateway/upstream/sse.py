"""Server-sent events, sans-I/O: bytes in any portions → the payload of each event.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. vLLM writes one `data:` line
an event and ends it with two line feeds; that is the fast path, the rest of the grammar is understood all the same.
"""

from __future__ import annotations

from gateway.errors import EngineBroke

_MAX_EVENT_BYTES = 8 * 1024 * 1024


class EventSplitter:
    """Feed it what arrives; it returns whole payloads and keeps what is unfinished, up to a bound."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that `data` completes; comments and events without data are dropped."""
        data = self._rest + data if self._rest else data
        if b"\r" in data:
            data, held_back = _line_feeds_only(data)
        else:
            held_back = b""
        *blocks, rest = data.split(b"\n\n")
        self._rest = rest + held_back
        if len(self._rest) > _MAX_EVENT_BYTES:
            raise EngineBroke("The engine sent an event without an end.")
        return [payload for payload in map(_payload, blocks) if payload is not None]

    @property
    def empty(self) -> bool:
        """Whether nothing is kept, so that the next bytes begin an event."""
        return not self._rest

    @property
    def unfinished(self) -> bool:
        """Whether an event has begun and not ended."""
        return bool(self._rest.strip())


def _line_feeds_only(data: bytes) -> tuple[bytes, bytes]:
    """Return `data` with every line end as one line feed; a CR at the very end may be half of one and is held back."""
    held_back = b"\r" if data.endswith(b"\r") else b""
    data = data[: len(data) - len(held_back)]
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), held_back


def _payload(block: bytes) -> bytes | None:
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:") or line == b"data"]
    return b"\n".join(lines) if lines else None
