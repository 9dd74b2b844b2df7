"""What vLLM 0.32 sent when it was recorded, taken apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[3] / "fakes" / "recordings"
STREAMS = sorted(path.stem for path in FOLDER.glob("stream*.http") if path.stem != "stream_error")
ERRORS = sorted(path.stem for path in FOLDER.glob("error_*.http"))


def answer(name: str) -> tuple[int, bytes]:
    """Return a recording's status and its body, out of its chunks."""
    head, _, body = (FOLDER / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    return status, _dechunked(body) if b"transfer-encoding: chunked" in head else body


def payloads(name: str) -> list[bytes]:
    """Return the data of each event of a recorded stream."""
    events = answer(name)[1].split(b"\n\n")
    return [event.removeprefix(b"data: ") for event in events if event]


def chunks(name: str) -> list[dict[str, Any]]:
    """Return the chunks of a recorded stream."""
    return [json.loads(payload) for payload in payloads(name) if payload != b"[DONE]"]


def _dechunked(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        parts.append(rest[: int(size, 16)])
        body = rest[int(size, 16) + 2 :]
    return b"".join(parts)
