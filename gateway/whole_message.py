"""An HTTP message that has come whole, told from its bytes: for those whose head was parsed before. Pure.

From one message to the next of the same sender often only the length differs, so a head without it is worth knowing
again: `api/plain_head.py` and `upstream/http_answer.py` do.
"""

from __future__ import annotations

_LENGTH, _LENGTH_IN_LOWER_CASE = b"\nContent-Length: ", b"\ncontent-length: "
_NAME_BYTES = len(_LENGTH)
_MAX_HEAD_BYTES = 4096
_MAX_DIGITS = 8

WholeMessage = tuple[bytes, bytes, bytes, bytes]
"""The head before the digits of its Content-Length, and behind them; the digits; the body."""


def whole_message(data: bytes) -> WholeMessage | None:
    """Return the parts of a message whose length is that of what follows its head; None for anything else.

    Nothing is promised of the head: it may be no HTTP at all, or frame its body in another way too.
    """
    end = data.find(b"\r\n\r\n", 0, _MAX_HEAD_BYTES) + 4
    at = data.find(_LENGTH, 0, end)
    if at < 0:
        at = data.find(_LENGTH_IN_LOWER_CASE, 0, end)
    if end < 4 or at < 0:
        return None
    at += _NAME_BYTES
    until = data.find(b"\r", at, end)
    digits = data[at:until]
    if not digits.isdigit() or len(digits) > _MAX_DIGITS or len(data) - end != int(digits):
        return None
    return data[:at], data[until:end], digits, data[end:]
