"""The text of a stream, put together for a session."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import EngineBroke
from gateway.upstream.transcript import Transcript
from tests.unit.gateway.upstream import recordings


def transcript(*chunks: dict[str, Any]) -> Transcript:
    """Return what is made of these chunks."""
    made = Transcript()
    for chunk in chunks:
        made.add(json.dumps(chunk).encode())
    return made


def delta(text: str | None, index: int = 0, **choice: Any) -> dict[str, Any]:
    """Return a chunk with a piece of text."""
    return {"choices": [{"index": index, "delta": {"content": text}, **choice}]}


@pytest.mark.parametrize("name", recordings.STREAMS)
def test_a_recorded_stream_is_put_together(name: str) -> None:
    chunks = recordings.chunks(name)
    first = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == 0]
    made = transcript(*chunks)
    assert made.message["content"] == "".join(choice["delta"].get("content") or "" for choice in first)
    assert made.finish_reason == first[-1]["finish_reason"]
    assert made.finish_reason in ("stop", "length")


def test_only_the_first_choice_is_kept() -> None:
    made = transcript(delta("a"), delta("x", 1), delta("b"), delta(None, 1, finish_reason="length"))
    assert (made.message["content"], made.finish_reason) == ("ab", None)


def test_chunks_without_text_or_choices_add_nothing() -> None:
    last: dict[str, Any] = {"choices": []}
    made = transcript(delta(None), delta(""), {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, last)
    assert (made.message["content"], made.finish_reason) == ("", "stop")


def test_before_anything_has_come_it_is_empty() -> None:
    assert (transcript().message["content"], transcript().finish_reason) == ("", None)


def test_calls_are_put_together_from_their_parts() -> None:
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    parts = [first, {"index": 0, "function": {"arguments": '{"a"'}}, {"index": 0, "function": {"arguments": ":1}"}}]
    made = transcript(*({"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]} for part in parts))
    function = {"name": "f", "arguments": '{"a":1}'}
    assert made.message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }


@pytest.mark.parametrize(
    "payload",
    [
        b"x",
        b"{}",
        b'{"choices": [5]}',
        b'{"choices": [{}]}',
        b'{"choices": [{"index": 0}]}',
        b'{"choices": [{"index": 0, "delta": []}]}',
        b'{"choices": [{"index": 0, "delta": {"content": 5}}]}',
    ],
)
def test_what_cannot_be_kept_breaks_the_answer(payload: bytes) -> None:
    with pytest.raises(EngineBroke):
        Transcript().add(payload)
