"""What the scripted engine can do to a request. Each behaviour writes to one connection and returns."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.fakes import vllm_bytes as vllm

Parameters = dict[str, Any]


class Wire(Protocol):
    """The side of a connection that behaviours see."""

    async def write(self, data: bytes) -> None:
        """Write, and wait while the reader is slow."""

    def close(self) -> None:
        """Send what is buffered, then FIN."""

    def reset(self) -> None:
        """Send RST."""

    def finish_writing(self) -> None:
        """Send FIN and go on reading."""

    def token(self) -> None:
        """Count one generated token."""


@dataclass(slots=True)
class Script:
    """A behaviour, what it is given, and for how many requests it stays (-1: for ever)."""

    behaviour: str
    times: int = 1
    path: str | None = None
    parameters: Parameters = field(default_factory=dict)


@dataclass(slots=True)
class Play:
    """One request being answered."""

    wire: Wire
    made: vllm.Generation
    parameters: Parameters
    itl_seconds: float
    released: asyncio.Event

    def number(self, name: str, default: float) -> float:
        """Return a numeric parameter."""
        return float(self.parameters.get(name, default))


async def normal(play: Play) -> None:
    """Answer as vLLM does."""
    if not play.made.stream:
        await asyncio.sleep(play.itl_seconds * len(play.made.tokens))
        _count(play, len(play.made.tokens))
        await play.wire.write(vllm.response(200, vllm.unary_body(play.made)))
        return
    await play.wire.write(vllm.stream_head())
    await _events(play, vllm.stream_events(play.made))
    await play.wire.write(vllm.LAST_CHUNK)


async def _events(play: Play, events: list[bytes]) -> None:
    for event in events:
        if play.itl_seconds:
            await asyncio.sleep(play.itl_seconds)
        play.wire.token()
        await play.wire.write(event)


def _count(play: Play, tokens: int) -> None:
    for _ in range(tokens):
        play.wire.token()


async def refuse_503(play: Play) -> None:
    """Refuse as vLLM's admission limit does."""
    await play.wire.write(vllm.json_response(503, vllm.admission_error()))


async def error_400(play: Play) -> None:
    """Answer `status` (400) with the JSON `body`; take the next request after `seconds` (0)."""
    default = vllm.error(400, "Scripted.", "BadRequestError")
    status = int(play.number("status", 400))
    await play.wire.write(vllm.json_response(status, play.parameters.get("body", default)))
    await asyncio.sleep(play.number("seconds", 0))


async def slow_headers(play: Play) -> None:
    """Wait `seconds`, then send the head a few bytes at a time, then answer."""
    await asyncio.sleep(play.number("seconds", 0.2))
    for byte in vllm.stream_head():
        await play.wire.write(bytes([byte]))
        await asyncio.sleep(play.number("between", 0.001))
    await _events(play, vllm.stream_events(play.made))
    await play.wire.write(vllm.LAST_CHUNK)


async def slow_first_token(play: Play) -> None:
    """Send head and role chunk at once, the first content after `seconds`."""
    events = vllm.stream_events(play.made)
    await play.wire.write(vllm.stream_head() + events[0])
    await asyncio.sleep(play.number("seconds", 0.2))
    await _events(play, events[1:])
    await play.wire.write(vllm.LAST_CHUNK)


async def hang(play: Play) -> None:
    """Send the head and `chunks` (0) events, or with `silent` nothing at all, then stay silent."""
    if not play.parameters.get("silent"):
        events = vllm.stream_events(play.made)[: int(play.number("chunks", 0))]
        await play.wire.write(vllm.stream_head() + b"".join(events))
    await asyncio.Event().wait()


async def cut_before_headers(play: Play) -> None:
    """Close without a byte of an answer."""
    await asyncio.sleep(play.number("seconds", 0))
    play.wire.close()


async def cut_mid_stream(play: Play) -> None:
    """Close after `chunks` (2) events, and `extra` (0) bytes of the next, without the last chunk."""
    await _some(play)
    play.wire.close()


async def reset(play: Play) -> None:
    """Send RST: before the head when `chunks` is 0 (default), else after so many events."""
    if play.number("chunks", 0):
        await _some(play)
        await asyncio.sleep(0.05)  # Bytes still under way when an RST comes are thrown away by the reader's kernel.
    play.wire.reset()


async def half_close(play: Play) -> None:
    """Send FIN after `chunks` (2) events, and go on reading."""
    await _some(play)
    play.wire.finish_writing()
    await asyncio.sleep(play.number("seconds", 5))


async def _some(play: Play) -> None:
    chunks, extra = int(play.number("chunks", 2)), int(play.number("extra", 0))
    if not play.made.stream:
        whole = vllm.response(200, vllm.unary_body(play.made))
        await play.wire.write(whole[: len(whole) // 2])
        return
    events = vllm.stream_events(play.made)
    await play.wire.write(vllm.stream_head())
    await _events(play, events[:chunks])
    if extra:
        await play.wire.write(events[chunks][:extra])


async def garbage(play: Play) -> None:
    """Answer with something that is not HTTP, and close."""
    await play.wire.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is not HTTP\r\n\r\n")
    play.wire.close()


async def bad_chunk_framing(play: Play) -> None:
    """Send a good event, then a chunk whose size is not a number."""
    await play.wire.write(vllm.stream_head() + vllm.stream_events(play.made)[0] + b"zz\r\ndata: x\n\n\r\n")
    await asyncio.Event().wait()


async def huge_headers(play: Play) -> None:
    """Send `count` (20000) headers of `bytes` (100) bytes each and never end them."""
    line = b"x-filler: " + b"a" * int(play.number("bytes", 100)) + b"\r\n"
    await play.wire.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(int(play.number("count", 20_000)) // 100):
        await play.wire.write(line * 100)
    await asyncio.Event().wait()


async def stale(play: Play) -> None:
    """Close a connection that has served before, as a keep-alive that runs out just now does."""
    play.wire.close()


async def say(play: Play) -> None:
    """Answer with `text`, `piece` (4) characters a token, for the `reason` (stop)."""
    text, piece = str(play.parameters["text"]), int(play.number("piece", 4))
    tokens = tuple(text[start : start + piece] for start in range(0, len(text), piece))
    reason = str(play.parameters.get("reason", "stop"))
    await normal(dataclasses.replace(play, made=dataclasses.replace(play.made, tokens=tokens, finish_reason=reason)))


async def abort(play: Play) -> None:
    """Answer 200 with finish_reason `abort` and no text, as a draining vLLM does."""
    await normal(dataclasses.replace(play, made=dataclasses.replace(play.made, tokens=("",), finish_reason="abort")))


async def error_in_stream(play: Play) -> None:
    """Send `chunks` (2) events, then vLLM's error event and `[DONE]`."""
    body = play.parameters.get("body", vllm.error(500, "EngineCore encountered an issue.", "InternalServerError"))
    await play.wire.write(vllm.stream_head())
    await _events(play, vllm.stream_events(play.made)[: int(play.number("chunks", 2))])
    await play.wire.write(vllm.stream_error_event(body) + vllm.event(b"[DONE]") + vllm.LAST_CHUNK)


async def split_bytes(play: Play) -> None:
    """Write every byte on its own."""
    for byte in _whole(play):
        await play.wire.write(bytes([byte]))
        await asyncio.sleep(0)


async def merge(play: Play) -> None:
    """Write the whole answer at once."""
    await play.wire.write(_whole(play))


def _whole(play: Play) -> bytes:
    if not play.made.stream:
        return vllm.response(200, vllm.unary_body(play.made))
    return vllm.stream_head() + b"".join(vllm.stream_events(play.made)) + vllm.LAST_CHUNK


async def hold(play: Play) -> None:
    """Answer all but the last token, or nothing when not streamed, until `/_release`."""
    if not play.made.stream:
        await play.released.wait()
        await normal(play)
        return
    events = vllm.stream_events(play.made)
    kept = 1 + play.made.choices + int(play.made.include_usage)
    await play.wire.write(vllm.stream_head())
    await _events(play, events[:-kept])
    await play.released.wait()
    await _events(play, events[-kept:])
    await play.wire.write(vllm.LAST_CHUNK)


async def keep_back(play: Play) -> None:
    """Answer a stream but for the end of its body, which never comes."""
    await play.wire.write(vllm.stream_head())
    await _events(play, vllm.stream_events(play.made))
    await asyncio.Event().wait()


async def pour(play: Play) -> None:
    """Send `bytes` (50 million) of body as fast as they are taken, in chunks of `chunk` (16384)."""
    piece = vllm.chunked(b"x" * int(play.number("chunk", 16_384)))
    await play.wire.write(vllm.stream_head())
    for _ in itertools.repeat(None, int(play.number("bytes", 50_000_000)) // int(play.number("chunk", 16_384))):
        await play.wire.write(piece)
    await play.wire.write(vllm.LAST_CHUNK)


async def raw(play: Play) -> None:
    """Write `data` (latin-1) as it is; `then` is `keep` (default), `close`, `reset` or `wait`."""
    await play.wire.write(str(play.parameters["data"]).encode("latin-1"))
    then = play.parameters.get("then", "keep")
    if then == "close":
        play.wire.close()
    elif then == "reset":
        play.wire.reset()
    elif then == "wait":
        await asyncio.Event().wait()


Behaviour = Callable[[Play], Awaitable[None]]

BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.__name__: behaviour
    for behaviour in (
        normal, refuse_503, error_400, slow_headers, slow_first_token, hang, cut_before_headers, cut_mid_stream,
        reset, half_close, garbage, bad_chunk_framing, huge_headers, stale, abort, error_in_stream, split_bytes,
        merge, hold, keep_back, pour, raw, say,
    )
}  # fmt: skip
