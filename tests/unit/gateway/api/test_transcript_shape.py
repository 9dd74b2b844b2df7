"""A chat answer written as a transcription, whole and in events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.api.transcript_shape import TranscriptEvents, TranscriptShape
from gateway.domain import Sink
from gateway.upstream import WholeAnswer

USAGE = {"prompt_tokens": 200, "completion_tokens": 5, "total_tokens": 205}
COUNTED = {
    "type": "tokens",
    "input_tokens": 200,
    "input_token_details": {"audio_tokens": 188, "text_tokens": 12},
    "output_tokens": 5,
    "total_tokens": 205,
}


class Chunks:
    """Portions of a stream, as an answer gives them."""

    def __init__(self, *portions: bytes) -> None:
        self._portions = list(portions)

    async def read(self) -> bytes:
        """Return the next portion."""
        return self._portions.pop(0) if self._portions else b""

    async def pump(self, write: Sink) -> None:
        """Give nothing."""


def chunk(text: str | None, **fields: Any) -> bytes:
    """Return one event of a chat's stream."""
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}}]
    return b"data: " + json.dumps({"choices": choices, **fields}).encode() + b"\n\n"


def events_of(*portions: bytes) -> list[list[dict[str, Any]]]:
    """Return what each read gives, until the end."""

    async def read_all() -> list[bytes]:
        events = TranscriptEvents(Chunks(*portions))
        found = []
        while data := await events.read():
            found.append(data)
        return found

    reads = asyncio.run(read_all())
    return [[json.loads(event.removeprefix(b"data: ")) for event in data.split(b"\n\n") if event] for data in reads]


@pytest.mark.parametrize(("usage", "counted"), [(USAGE, {"usage": COUNTED}), (None, {})])
def test_a_whole_answer(usage: dict[str, int] | None, counted: dict[str, Any]) -> None:
    answer = WholeAnswer(json.dumps({"usage": usage}).encode(), None, {"content": " Good morning.\n"}, "stop")
    kind, body = TranscriptShape(plain=False).whole(answer)
    assert (kind, json.loads(body)) == (b"application/json", {"text": "Good morning.", **counted})
    assert TranscriptShape(plain=True).whole(answer) == (b"text/plain; charset=utf-8", b"Good morning.\n")


def test_a_stream_is_pieces_and_then_all_of_it() -> None:
    role = chunk("")
    reads = events_of(role + chunk(" Good"), role, chunk(" morn") + chunk("ing. "), chunk(None, usage=USAGE))
    assert reads == [
        [{"type": "transcript.text.delta", "delta": " Good"}],
        [{"type": "transcript.text.delta", "delta": " morn"}, {"type": "transcript.text.delta", "delta": "ing. "}],
        [{"type": "transcript.text.done", "text": "Good morning.", "usage": COUNTED}],
    ]


def test_a_stream_of_nothing_is_done_all_the_same() -> None:
    assert events_of() == [[{"type": "transcript.text.done", "text": ""}]]
