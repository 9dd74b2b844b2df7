"""Calls in an answer's text: found, given back as text, never changed by how the text was cut up."""

from __future__ import annotations

import itertools
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import JsonObject, ToolUse
from gateway.errors import EngineBroke
from gateway.upstream.tool_calls import CallReader, Ending, begins_envelope, read_whole
from gateway.upstream.tool_stream import ToolCallStream

AUTO = ToolUse(frozenset({"get_weather", "get_time"}), forced=False, max_calls=8)
FORCED = ToolUse(AUTO.names, forced=True, max_calls=8)
ONE = ToolUse(AUTO.names, forced=False, max_calls=1)
ROME = '{"name":"get_weather","arguments":{"city":"Rome"}}'
NOON = '{"name": "get_time"}'

Calls = list[tuple[str, str]]


def read(text: str, use: ToolUse = AUTO, reason: str = "stop") -> tuple[str, Calls, str | None]:
    """Return the text, the calls and the reason of an answer read at once."""
    return read_pieces([text], use, reason)


def read_pieces(pieces: list[str], use: ToolUse, reason: str) -> tuple[str, Calls, str | None]:
    """The same of an answer that comes in pieces."""
    reader = CallReader(use)
    passed = "".join(reader.feed(piece) for piece in pieces)
    ending = reader.end(reason)
    return passed + ending.text, [(call.name, call.arguments) for call in ending.calls], ending.finish_reason


@pytest.mark.parametrize(
    "text",
    [
        f'{{"tool_calls":[{ROME},{NOON}]}}',
        f' \n{{ "tool_calls" : [ {ROME} ,\n{NOON} ] }} \n',
        f'```json\n{{"tool_calls":[{ROME},{NOON}]}}\n```',
        f'```\n{{"tool_calls":[{ROME},{NOON}]}}',
        f'```tool_calls\n\n{{"tool_calls": [{ROME}, {NOON}]}}\n```\n',
    ],
)
def test_an_envelope_is_its_calls(text: str) -> None:
    assert read(text) == ("", [("get_weather", '{"city":"Rome"}'), ("get_time", "{}")], "tool_calls")


def test_what_the_model_writes_behind_an_envelope_is_kept_as_text() -> None:
    assert read(f'{{"tool_calls":[{NOON}]}}\n\nI will look. ')[0] == "I will look."
    assert read(f'```json\n{{"tool_calls":[{NOON}]}}\n```\nDone.')[0] == "Done."


def test_of_more_calls_than_allowed_the_first_count() -> None:
    assert read(f'{{"tool_calls":[{ROME},{NOON}]}}', ONE)[1] == [("get_weather", '{"city":"Rome"}')]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello there.",
        " {",
        "``",
        "```json\n",
        "```python\nprint(1)\n```",
        '{"tool_call":[]}',
        '{"tool_calls":[]}',
        '{"tool_calls":[',
        f'{{"tool_calls":[{ROME}',
        f'{{"tool_calls":[{ROME}]',
        f'Sure: {{"tool_calls":[{ROME}]}}',
        '{"tool_calls":[5]}',
        '{"tool_calls":[{"name":"other","arguments":{}}]}',
        '{"tool_calls":[{"name":["get_time"],"arguments":{}}]}',
        '{"tool_calls":[{"name":"get_time","arguments":"{}"}]}',
        '{"tool_calls":[{"name":"get_time","arguments":{"a":NaN}}]}',
        '{"tool_calls":[{"name":"get_time","arguments":{"a":1e999}}]}',
        f'{{"tool_calls":[{NOON}],"tool_calls":5}}',
        '{"tool_calls":[' + "[" * 100_000,
        '{"tool_calls":[{"name":"get_time","arguments":{"a":' + "9" * 5000 + "}}]}",
        " " * 40 + f'{{"tool_calls":[{ROME}]}}',
    ],
)
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_what_is_no_well_formed_envelope_is_given_as_the_text_it_was(text: str, reason: str) -> None:
    assert read(text, AUTO, reason) == (text, [], reason)


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"a": "早"}', '{"a":"早"}'),
        ('{"a": "one\ntwo"}', '{"a":"one\\ntwo"}'),
        ('{"a": "\\ud800"}', '{"a":"\\ud800"}'),
        ('{"a": 123456789012345678901234567890}', '{"a":123456789012345678901234567890}'),
    ],
)
def test_arguments_are_json_that_everyone_can_read(arguments: str, given: str) -> None:
    _, calls, _ = read(f'{{"tool_calls":[{{"name":"get_time","arguments":{arguments}}}]}}')
    assert calls == [("get_time", given)]
    assert json.loads(given)
    assert given.encode()


# Where calls are forced.


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        (f'{{"tool_calls":[{ROME}', [("get_weather", '{"city":"Rome"}')]),
        (f'{{"tool_calls":[{ROME}, {{"name":"get_t', [("get_weather", '{"city":"Rome"}')]),
        ('{"tool_calls": [{"name": "get_weather", "arguments": {"ci', [("get_weather", '{"ci')]),
        ('{"tool_calls":[{"name":"get_weather"', [("get_weather", "")]),
    ],
)
@pytest.mark.parametrize("reason", ["length", "stop"])
def test_a_forced_envelope_that_was_cut_gives_what_there_is(text: str, calls: Calls, reason: str) -> None:
    assert read(text, FORCED, reason) == ("", calls, reason)


def test_a_forced_envelope_cut_before_any_call_is_text_and_one_that_ends_without_any_is_a_fault() -> None:
    assert read('{"tool', FORCED, "length") == ('{"tool', [], "length")
    for text in ("", "Hello", '{"tool_calls":[]}', '{"tool_calls":[{"name":"other"'):
        with pytest.raises(EngineBroke):
            read(text, FORCED)


# However it is cut up.

PARTS = st.sampled_from([
    *(" ", "\n", "`", "```", "json", "{", '"', '"tool_calls"', ":", "[", "]", "}", ",", ROME, NOON, "Hello"),
    *('{"tool_calls":[', '{"name":"get_weather","arguments":{', "]}"),
])  # fmt: skip
TEXTS = st.lists(PARTS, max_size=12).map("".join) | st.text()


@given(TEXTS, st.lists(st.integers(0, 200)), st.sampled_from([AUTO, ONE]), st.sampled_from(["stop", "length"]))
def test_any_split_of_an_answer_gives_the_same(text: str, cuts: list[int], use: ToolUse, reason: str) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(edges)]
    assert read_pieces(pieces, use, reason) == read(text, use, reason)
    assert read_pieces(list(text), use, reason) == read(text, use, reason)


@given(TEXTS)
def test_text_is_held_back_only_while_it_could_still_be_an_envelope(text: str) -> None:
    reader = CallReader(AUTO)
    passed = ""
    for end in range(1, len(text) + 1):
        passed += reader.feed(text[end - 1])
        begins = begins_envelope(text[:end])
        assert passed == (text[:end] if begins is False else "")
        assert begins is not None or end < 150


@given(TEXTS, st.text())
def test_what_was_decided_stays_so(text: str, more: str) -> None:
    begins = begins_envelope(text)
    assert begins is None or begins_envelope(text + more) is begins


# In the engine's shapes.


def whole(text: str, reason: str = "stop") -> JsonObject:
    """Return a choice as vLLM answers it."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}


def test_a_whole_answer_gets_calls_with_ids_of_their_own() -> None:
    choice = read_whole(whole(f'{{"tool_calls":[{ROME},{NOON}]}}'), AUTO)
    first, second = choice["message"]["tool_calls"]
    assert first["function"] == {"name": "get_weather", "arguments": '{"city":"Rome"}'}
    assert first["id"].startswith("call_")
    assert first["id"] != second["id"]
    assert (choice["message"]["content"], choice["finish_reason"], first["type"]) == (None, "tool_calls", "function")


def test_a_whole_answer_without_calls_is_the_engines() -> None:
    plain = whole("Hello")
    assert read_whole(plain, AUTO) is plain


def chunk(delta: Any, reason: str | None = None, index: int = 0, **fields: Any) -> bytes:
    """Return a chunk as the splicer leaves it."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason, **fields}
    return orjson.dumps({"id": "chatcmpl-1", "created": 1, "choices": [choice]})


def role(index: int = 0) -> bytes:
    """Return a choice's first chunk."""
    return chunk({"role": "assistant", "content": ""}, index=index)


def rewritten(*payloads: bytes, use: ToolUse = AUTO) -> list[JsonObject]:
    """Return the choices that a client gets, in order."""
    stream = ToolCallStream(use)
    events = b"".join(b"data: " + out + b"\n\n" for out in map(stream.rewrite, payloads) if out)
    lines = [line.removeprefix("data: ") for line in events.decode().split("\n") if line]
    chunks = [json.loads(line) for line in lines]
    assert all(made["id"] == "chatcmpl-1" for made in chunks)
    return [choice for made in chunks for choice in made["choices"]]


def test_plain_text_streams_as_it_comes_with_the_role_in_its_first_chunk() -> None:
    choices = rewritten(role(), chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({"content": "!"}, "stop"))
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": "Hel"},
        {"content": "lo"},
        {"content": "!"},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]


def test_calls_stream_as_clients_put_them_together() -> None:
    envelope = f'{{"tool_calls":[{ROME},{NOON}]}}'
    pieces = [chunk({"content": envelope[at : at + 7]}) for at in range(0, len(envelope), 7)]
    choices = rewritten(role(), *pieces, chunk({"content": ""}, "stop"))
    deltas = [choice["delta"] for choice in choices]
    first = deltas[0].pop("tool_calls")[0]
    assert deltas[0] == {"role": "assistant", "content": None}
    assert (first["index"], first["type"]) == (0, "function")
    assert first["function"] == {"name": "get_weather", "arguments": ""}
    assert deltas[1] == {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":"Rome"}'}}]}
    assert [delta["tool_calls"][0]["index"] for delta in deltas[1:4]] == [0, 1, 1]
    assert deltas[4] == {}
    assert [choice["finish_reason"] for choice in choices] == [None] * 4 + ["tool_calls"]


def test_an_empty_answer_still_has_its_role_and_its_end() -> None:
    (choice,) = rewritten(role(), chunk({"content": ""}, "stop"))
    assert (choice["delta"], choice["finish_reason"]) == ({"role": "assistant", "content": ""}, "stop")


def test_each_choice_is_read_for_itself() -> None:
    choices = rewritten(
        role(0),
        role(1),
        chunk({"content": '{"tool_calls":['}, index=1),
        chunk({"content": "Hello"}, "stop", index=0),
        chunk({"content": f"{NOON}]}}"}, "stop", index=1),
    )
    assert [(choice["index"], choice["finish_reason"]) for choice in choices] == [
        (0, "stop"),
        (1, None),
        (1, None),
        (1, "tool_calls"),
    ]


def test_log_probabilities_come_with_the_text_they_belong_to() -> None:
    def told(token: str) -> JsonObject:
        return {"content": [{"token": token}]}

    choices = rewritten(
        role(),
        chunk({"content": "{"}, logprobs=told("{")),
        chunk({"content": "x"}, logprobs=told("x")),
        chunk({"content": "y"}, "stop", logprobs=told("y")),
    )
    assert [(choice["delta"]["content"], choice["logprobs"]) for choice in choices] == [
        ("{x", {"content": [{"token": "{"}, {"token": "x"}]}),
        ("y", told("y")),
    ]


def test_the_chunk_with_the_usage_is_left_alone() -> None:
    usage = b'{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":1}}'
    assert ToolCallStream(AUTO).rewrite(usage) is usage


@pytest.mark.parametrize("payload", [b"{}", b"[]", b'{"choices":[{}]}', b'{"choices":[{"index":0,"delta":5}]}'])
def test_a_chunk_of_an_unknown_shape_is_the_engines_fault(payload: bytes) -> None:
    with pytest.raises(EngineBroke):
        ToolCallStream(AUTO).rewrite(payload)


def test_a_forced_stream_without_a_call_is_the_engines_fault() -> None:
    with pytest.raises(EngineBroke):
        rewritten(role(), chunk({"content": "Hello"}, "stop"), use=FORCED)


@given(TEXTS, st.sampled_from(["stop", "length"]))
def test_a_stream_says_the_same_as_a_whole_answer(text: str, reason: str) -> None:
    reader = CallReader(AUTO)
    expected: Ending = reader.end(reason) if not text else Ending(reader.feed(text), (), reason)
    if text:
        ending = reader.end(reason)
        expected = Ending(expected.text + ending.text, ending.calls, ending.finish_reason)
    choices = rewritten(role(), *(chunk({"content": character}) for character in text), chunk({}, reason))
    names = [
        call["function"]["name"]
        for choice in choices
        for call in choice["delta"].get("tool_calls", ())
        if "name" in call["function"]
    ]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == expected.text
    assert names == [call.name for call in expected.calls]
    assert choices[-1]["finish_reason"] == expected.finish_reason
