"""An ordinary whole answer made the client's at byte level: its text is passed on unread, its frame rewritten once.

From one ordinary answer to the next differ the id, the text and the usage. The rest is its frame, which vLLM writes
alike for all answers of a second. A `"` inside a JSON text is escaped, so no marker can occur within one. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import orjson

from gateway.domain import Usage
from gateway.upstream.splice import usage_of

_ID = b'{"id":"'
_TEXT = b'"choices":[{"index":0,"message":{"role":"assistant","content":"'
_TEXT_END = b'","refusal":'
_USAGE = b',"usage":'
_SAID_BY_THE_ENGINE = (b'"finish_reason":"', b'"system_fingerprint":"', b'"service_tier":"')
_MAX_HEAD_BYTES = 512
_MAX_FRAME_BYTES = 2048
_MAX_USAGE_BYTES = 1024
_FRAMES = 64

Frame = tuple[bytes, bytes, bytes]
"""What stands before the text, from the end of the id; between text and usage; behind the usage."""

Rewrite = Callable[[bytes, str], bytes | None]
"""Returns an answer of the engine's with an empty id as the client gets it from a model of that name.

None: it is not one that any client gets.
"""

Spliced = tuple[bytes, Usage | None, str | None]
"""An answer for the client, its usage, and why it ended."""


def spliced(body: bytes, public_id: str, model: str, rewrite: Rewrite) -> Spliced | None:
    """Return the answer in `body` with our id and model and without what vLLM adds; None for one of another shape.

    What `rewrite` makes of a frame is kept, so it must depend on nothing else.
    """
    parts = _cut(body)
    known = _rewritten(parts[0], model, rewrite) if parts is not None else None
    if parts is None or known is None:
        return None
    _, text, counted = parts
    try:
        usage = usage_of(orjson.loads(counted))
    except orjson.JSONDecodeError:
        return None
    (before, between, behind), finish_reason = known
    return b"".join((_ID, public_id.encode(), before, text, between, counted, behind)), usage, finish_reason


def _cut(body: bytes) -> tuple[Frame, bytes, bytes] | None:
    """Return an answer's frame, its text as JSON has it but without quotes, and its usage; None for another shape."""
    id_end = body.find(b'"', len(_ID), _MAX_HEAD_BYTES)
    text_at = body.find(_TEXT, id_end, _MAX_HEAD_BYTES)
    text_end = body.find(_TEXT_END, text_at)
    usage_at = body.find(_USAGE, text_end)
    if id_end < 0 or text_at < 0 or text_end < 0 or usage_at < 0 or not body.startswith(_ID):
        return None
    text_at += len(_TEXT)
    usage_at += len(_USAGE)
    usage_end = _object_end(body, usage_at)
    if usage_at - text_end + len(body) - usage_end > _MAX_FRAME_BYTES:
        return None
    frame, text = (body[id_end:text_at], body[text_end:usage_at], body[usage_end:]), body[text_at:text_end]
    # Between text and its end there may be other members, where an engine writes them in another order.
    if text.count(b'"') != text.count(b'\\"') or not _is_wordless(frame):
        return None
    return frame, text, body[usage_at:usage_end]


def _is_wordless(frame: Frame) -> bool:
    """Whether no text but the engine's own stands beside the answer's: no log probabilities, reasoning or stop string.

    A frame is kept, and nobody's words are to be.
    """
    _, between, behind = frame
    if b"\\" in between or b"\\" in behind:
        return False
    texts = sum(mark in between for mark in _SAID_BY_THE_ENGINE)
    # Each member has two quotes before its colon; the first is the end of the answer's text.
    quotes = between.count(b'"') - 2 * between.count(b'":') - 1
    return quotes == 2 * texts and behind.count(b'"') == 2 * behind.count(b'":')


def _object_end(body: bytes, start: int) -> int:
    """Return where the object at `start` ends, of numbers and of such objects; where there is none, some place."""
    end, limit = start, start + _MAX_USAGE_BYTES
    while end := body.find(b"}", end, limit) + 1:
        if body.count(b"{", start, end) <= body.count(b"}", start, end):
            return end
    return len(body)


@lru_cache(maxsize=_FRAMES)
def _rewritten(frame: Frame, model: str, rewrite: Rewrite) -> tuple[Frame, str | None] | None:
    """Return the frame as the client gets it, and why its answers ended; None where it is not one for here."""
    before, between, behind = frame
    answer = rewrite(b"".join((_ID, before, between, b"{}", behind)), model)
    parts = _cut(answer) if answer is not None else None
    if answer is None or parts is None or parts[1:] != (b"", b"{}") or _USAGE in behind:
        return None
    read = orjson.loads(answer)
    # The usage that was found is to be that of the answer, and not of something in it.
    return (parts[0], read["choices"][0].get("finish_reason")) if read.get("usage") == {} else None
