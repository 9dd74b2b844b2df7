"""Calls under a grammar go out piece by piece, the same however the text is cut up."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import JsonObject, ToolUse
from gateway.upstream.forced_calls import ForcedCalls
from gateway.upstream.tool_calls import CallReader

USE = ToolUse(frozenset({"get_weather", "get_time"}), forced=True, max_calls=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
CALLS = st.lists(
    st.tuples(st.sampled_from(sorted(USE.names)), st.dictionaries(st.text(), JSON, max_size=3)), min_size=1, max_size=3
)
SEPARATORS = st.sampled_from([(", ", ": "), (",", ":")])


def envelope(
    calls: list[tuple[str, JsonObject]], separators: tuple[str, str] = (", ", ": "), plain: bool = True
) -> str:
    """Return the text that the grammar lets a model write."""
    given_calls = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return json.dumps({"tool_calls": given_calls}, separators=separators, ensure_ascii=plain)


def put_together(deltas: list[JsonObject]) -> list[tuple[str, str]]:
    """Return name and arguments of each call, as a client puts them together."""
    calls: list[tuple[str, str]] = []
    for delta in deltas:
        (part,) = delta["tool_calls"]
        function = part["function"]
        if "name" in function:
            assert part["index"] == len(calls)
            assert part["id"].startswith("call_")
            calls.append((function["name"], ""))
        name, arguments = calls[part["index"]]
        calls[part["index"]] = (name, arguments + function["arguments"])
    return calls


def read(pieces: list[str], reason: str = "stop") -> tuple[list[tuple[str, str]], str | None]:
    """Return the calls and why the answer ended."""
    calls = ForcedCalls(USE)
    deltas = [delta for piece in pieces for delta in calls.feed(piece)]
    return put_together(deltas), calls.end(reason)


@given(CALLS, SEPARATORS, st.booleans(), st.lists(st.integers(0, 400)))
def test_any_split_gives_every_call_as_it_was_written(
    calls: list[tuple[str, JsonObject]], separators: tuple[str, str], plain: bool, cuts: list[int]
) -> None:
    text = envelope(calls, separators, plain)
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[begin:end] for begin, end in pairwise(edges)]
    found, reason = read(pieces)
    assert reason == "tool_calls"
    assert [(name, json.loads(arguments)) for name, arguments in found] == calls


@given(CALLS, st.integers(0, 400))
def test_what_is_cut_gives_what_there_is(calls: list[tuple[str, JsonObject]], length: int) -> None:
    text = envelope(calls)[:length]
    found, reason = read(list(text), "length")
    whole = [(name, json.dumps(arguments)) for name, arguments in calls]
    assert reason == ("tool_calls" if text == envelope(calls) else "length")
    assert found == [] or found[:-1] == whole[: len(found) - 1]
    if found:
        name, arguments = whole[len(found) - 1]
        assert found[-1][0] == name
        assert arguments.startswith(found[-1][1].rstrip())


@given(CALLS)
def test_a_stream_and_a_whole_answer_tell_the_same(calls: list[tuple[str, JsonObject]]) -> None:
    text = envelope(calls)
    reader = CallReader(USE)
    reader.feed(text)
    ending = reader.end("stop")
    found, reason = read(list(text))
    assert reason == ending.finish_reason
    assert [(call.name, json.loads(call.arguments)) for call in ending.calls] == [
        (name, json.loads(arguments)) for name, arguments in found
    ]


def test_nothing_waits_for_the_end() -> None:
    calls = ForcedCalls(USE)
    assert calls.feed('{"tool_calls": [{"na') == []
    (begin,) = calls.feed('me": "get_time", "arguments": {')[:1]
    assert begin["tool_calls"][0]["function"] == {"name": "get_time", "arguments": ""}
    assert calls.feed('"zone": "U')[0]["tool_calls"][0]["function"]["arguments"] == '"zone": "U'
    assert calls.feed("\\") == []
    assert calls.feed('u0054C"}}, ')[0]["tool_calls"][0]["function"]["arguments"] == '\\u0054C"}'
    assert calls.feed('{"name": "get_weather", "arguments": {"a": "}"}}]}')[0]["tool_calls"][0]["index"] == 1
    assert calls.end("stop") == "tool_calls"


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        '{"tool_calls": [5]}',
        '{"tool_calls": [{"name": "other", "arguments": {}}]}',
        '{"tool_calls": [{"name": "get_time"}]}',
        '{"tool_calls": [{"arguments": {}, "name": "get_time"}]}',
        '{"tool_calls": [{"name": "get_time", "arguments": []}]}',
    ],
)
def test_what_no_grammar_would_write_begins_no_call(text: str) -> None:
    calls = ForcedCalls(USE)
    assert calls.feed(text) == []
    assert calls.started == 0


def test_more_calls_than_allowed_do_not_begin() -> None:
    calls: list[tuple[str, dict[str, Any]]] = [("get_time", {})] * 4
    found, reason = read([envelope(calls)])
    assert len(found) == 3
    assert reason == "tool_calls"
