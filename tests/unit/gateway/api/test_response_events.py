"""A chat's chunks become the events of a response: in order, numbered, and together the whole."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.api.response_events import ResponseWriter
from gateway.api.response_object import ResponseObject
from gateway.domain import JsonObject, RequestId
from gateway.errors import EngineBroke
from gateway.prompt.response_request import response_request

USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 5},
}
COUNTED = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 13,
}
BEGIN = ["response.created", "response.in_progress"]
WORDS_BEGIN = ["response.output_item.added", "response.content_part.added"]
WORD = "response.output_text.delta"
WORDS_END = ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
CALL_BEGIN = ["response.output_item.added"]
ARGUMENTS = "response.function_call_arguments.delta"
CALL_END = ["response.function_call_arguments.done", "response.output_item.done"]
ROLE = {"role": "assistant", "content": ""}


def response(*, store: bool = True) -> ResponseObject:
    """Return a response that is asked for."""
    shown = response_request(b'{"input":"x"}', drops_unknown=False).shown
    return ResponseObject(RequestId("req_1f"), "gemma-3n", shown, 1_700_000_000, store=store)


def chunk(delta: JsonObject, reason: str | None = None, logprobs: list[Any] | None = None) -> JsonObject:
    """Return a chunk of a chat."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": logprobs and {"content": logprobs}}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}


def words(text: str, reason: str | None = None, logprobs: list[Any] | None = None) -> JsonObject:
    """Return a chunk with words."""
    return chunk({"content": text}, reason, logprobs)


def begun(index: int, identity: str, name: str, arguments: str = "") -> JsonObject:
    """Return the first chunk of a call."""
    function = {"name": name, "arguments": arguments}
    return chunk({"tool_calls": [{"index": index, "id": identity, "type": "function", "function": function}]})


def more(index: int, arguments: str) -> JsonObject:
    """Return a later chunk of a call."""
    return chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})


def end(reason: str = "stop") -> JsonObject:
    """Return the chunk that says why the answer ended."""
    return chunk({}, reason)


COUNT: JsonObject = {"choices": [], "usage": USAGE}


def token(text: str) -> JsonObject:
    """Return a token's log probability."""
    return {"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": []}


def read(data: bytes) -> list[JsonObject]:
    """Return events that were written, each of which says its type twice."""
    events = []
    for written in data.split(b"\n\n")[:-1]:
        kind, _, said = written.partition(b"\n")
        event: JsonObject = orjson.loads(said.removeprefix(b"data: "))
        assert kind == b"event: " + event["type"].encode()
        events.append(event)
    return events


def events_of(*chunks: JsonObject) -> list[JsonObject]:
    """Return all events of an answer."""
    writer = ResponseWriter(response())
    data = [writer.begin(), *(writer.chunk(each) for each in chunks), writer.end(), writer.done()]
    return read(b"".join(data))


def kinds(events: list[JsonObject]) -> list[str]:
    """Return what kind of event each is."""
    return [event["type"] for event in events]


def final(events: list[JsonObject]) -> JsonObject:
    """Return the response of the last event."""
    whole: JsonObject = events[-1]["response"]
    return whole


def test_words_are_told_in_order() -> None:
    events = events_of(chunk(ROLE), words("Good"), words(" day"), end(), COUNT)
    assert kinds(events) == [*BEGIN, *WORDS_BEGIN, WORD, WORD, *WORDS_END, "response.completed"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    created, in_progress, added, part_added, first, second, text_done, part_done, item_done, _ = events
    assert created["response"] == in_progress["response"]
    assert (created["response"]["status"], created["response"]["output"]) == ("in_progress", [])
    assert created["response"]["usage"] is None
    assert added["item"] == {
        "id": "msg_1f00",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    assert part_added["part"] == {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    assert (first["delta"], second["delta"], text_done["text"]) == ("Good", " day", "Good day")
    assert part_done["part"] == {"type": "output_text", "text": "Good day", "annotations": [], "logprobs": []}
    assert item_done["item"] == {**added["item"], "status": "completed", "content": [part_done["part"]]}
    for event in (part_added, first, second, text_done, part_done):
        assert (event["item_id"], event["output_index"], event["content_index"]) == ("msg_1f00", 0, 0)
    for event in (added, item_done):
        assert event["output_index"] == 0
        assert "item_id" not in event


def test_the_last_event_has_all_of_it() -> None:
    whole = final(events_of(chunk(ROLE), words("Good"), words(" day"), end(), COUNT))
    assert (whole["id"], whole["object"], whole["status"]) == ("resp_1f", "response", "completed")
    assert (whole["model"], whole["created_at"], whole["store"]) == ("gemma-3n", 1_700_000_000, True)
    assert (whole["error"], whole["incomplete_details"]) == (None, None)
    assert [item["content"][0]["text"] for item in whole["output"]] == ["Good day"]
    assert whole["usage"] == COUNTED


def test_a_call_is_told_in_parts() -> None:
    events = events_of(begun(0, "call_1", "look"), more(0, '{"a"'), more(0, ":1}"), end("tool_calls"))
    assert kinds(events) == [*BEGIN, *CALL_BEGIN, ARGUMENTS, ARGUMENTS, *CALL_END, "response.completed"]
    _, _, added, first, second, done, item_done, last = events
    call = {
        "id": "fc_1f00",
        "type": "function_call",
        "call_id": "call_1",
        "name": "look",
        "arguments": "",
        "status": "in_progress",
    }
    assert added["item"] == call
    assert (first["delta"], second["delta"]) == ('{"a"', ":1}")
    assert (done["name"], done["arguments"]) == ("look", '{"a":1}')
    assert item_done["item"] == {**call, "arguments": '{"a":1}', "status": "completed"}
    assert last["response"]["output"] == [item_done["item"]]
    assert {event["item_id"] for event in (first, second, done)} == {"fc_1f00"}


def test_words_end_where_a_call_begins_and_a_call_where_the_next_does() -> None:
    events = events_of(words("Let me see."), begun(0, "a", "look"), more(0, "{}"), begun(1, "b", "hear", "{}"), end())
    assert kinds(events) == [
        *BEGIN,
        *(*WORDS_BEGIN, WORD, *WORDS_END),
        *(*CALL_BEGIN, ARGUMENTS, *CALL_END),
        *(*CALL_BEGIN, ARGUMENTS, *CALL_END),
        "response.completed",
    ]
    places = [event["output_index"] for event in events if "output_index" in event]
    assert places == [0] * 6 + [1] * 4 + [2] * 4
    output = final(events)["output"]
    assert [item["id"] for item in output] == ["msg_1f00", "fc_1f01", "fc_1f02"]
    assert [item.get("call_id") for item in output] == [None, "a", "b"]


def test_a_call_without_arguments_is_told() -> None:
    events = events_of(begun(0, "a", "look"), end("tool_calls"))
    assert kinds(events) == [*BEGIN, *CALL_BEGIN, *CALL_END, "response.completed"]
    assert final(events)["output"][0]["arguments"] == ""


def test_an_answer_without_a_word_is_one_empty_text() -> None:
    events = events_of(chunk(ROLE), end())
    assert kinds(events) == [*BEGIN, *WORDS_BEGIN, *WORDS_END, "response.completed"]
    (item,) = final(events)["output"]
    assert (item["status"], item["content"][0]["text"]) == ("completed", "")


@pytest.mark.parametrize(("reason", "why"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_says_so_and_why(reason: str, why: str) -> None:
    events = events_of(words("Good"), end(reason))
    assert kinds(events)[-1] == "response.incomplete"
    assert (final(events)["status"], final(events)["incomplete_details"]) == ("incomplete", {"reason": why})
    assert [item["status"] for item in final(events)["output"]] == ["incomplete"]


def test_only_the_last_item_of_an_answer_that_was_cut_is_incomplete() -> None:
    chunks = (words("See."), begun(0, "a", "look", "{}"), begun(1, "b", "look", '{"a'), end("length"))
    assert [item["status"] for item in final(events_of(*chunks))["output"]] == ["completed", "completed", "incomplete"]


def test_an_answer_that_nobody_counted_has_no_usage() -> None:
    assert final(events_of(words("x"), end()))["usage"] is None
    assert response().ended([], "stop", {**USAGE, "prompt_tokens_details": None})["usage"] == {
        **COUNTED,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    }


def test_log_probabilities_come_with_their_words_and_all_of_them_at_the_end() -> None:
    first, half, rest, stop = (token(text) for text in ("Go", "\\xc3", "\\xb6d", "<end>"))
    chunks = (words("Go", None, [first]), words("", None, [half]), words("öd", None, [rest]), words("", "stop", [stop]))
    events = events_of(*chunks)
    deltas = [(event["delta"], event["logprobs"]) for event in events if event["type"] == WORD]
    assert deltas == [("Go", [first]), ("öd", [half, rest])]
    (done,) = [event for event in events if event["type"] == "response.output_text.done"]
    assert done["logprobs"] == [first, half, rest, stop]
    assert final(events)["output"][0]["content"][0]["logprobs"] == done["logprobs"]


def test_a_failure_is_an_event_for_those_who_read_events_and_an_error_for_those_who_raise() -> None:
    writer = ResponseWriter(response())
    before = read(writer.begin() + writer.chunk(words("Good")))
    error = EngineBroke("The answer was cut off.", param="x")
    (event,) = read(writer.failed(error.envelope()))
    assert event == {
        "type": "error",
        "sequence_number": len(before),
        "code": "engine_error",
        "message": "The answer was cut off.",
        "param": "x",
        "error": error.envelope()["error"],
    }


def test_events_are_those_of_the_sdk() -> None:
    known: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
    chunks = (words("See.", None, [token("See.")]), begun(0, "a", "look", "{}"), end("tool_calls"), COUNT)
    events = events_of(*chunks)
    writer = ResponseWriter(response())
    for event in (*events, *read(writer.failed(EngineBroke("x").envelope()))):
        assert known.validate_python(event).type == event["type"]
    whole = Response.model_validate(final(events), strict=False)
    assert whole.output_text == "See."


# Whatever the portions.

TEXTS = st.text(max_size=4)
NAMES = st.sampled_from(["look", "hear"])
PORTIONS = st.lists(TEXTS, max_size=4)
CALLS = st.lists(st.tuples(NAMES, PORTIONS), max_size=3)
REASONS = st.sampled_from(["stop", "tool_calls", "length", "content_filter", None])


def logprobs_of(text: str) -> list[JsonObject]:
    """Return one for each character, and one for what has none."""
    return [token(character) for character in text] or [token("half")]


@given(PORTIONS, CALLS, REASONS, st.booleans(), st.booleans(), st.booleans())
def test_the_pieces_add_up_to_the_whole(
    said: list[str], calls: list[tuple[str, list[str]]], reason: str | None, counted: bool, probable: bool, late: bool
) -> None:
    chunks = [chunk(ROLE), *(words(text, None, logprobs_of(text) if probable else None) for text in said)]
    for index, (name, portions) in enumerate(calls):
        head, *tail = portions or [""]
        chunks += [begun(index, f"call_{index}", name, head), *(more(index, portion) for portion in tail)]
    if late or not chunks[1:]:
        chunks.append(chunk({}, reason))
    else:
        chunks[-1]["choices"][0]["finish_reason"] = reason
    events = events_of(*chunks, *([COUNT] if counted else []))

    tool_calls = [
        {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": "".join(portions)}}
        for index, (name, portions) in enumerate(calls)
    ]
    tokens = [each for text in said for each in logprobs_of(text)] if probable else None
    choice = {
        "message": {"role": "assistant", "content": "".join(said) or None, "tool_calls": tool_calls},
        "finish_reason": reason,
        "logprobs": tokens and {"content": tokens},
    }
    whole = response()
    assert final(events) == whole.ended(whole.output_of(choice), reason, USAGE if counted else None)

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [item["output_index"] for item in events if item["type"] == "response.output_item.added"] == list(
        range(len(final(events)["output"]))
    )
    for index, item in enumerate(final(events)["output"]):
        of_item = [event for event in events if event.get("output_index") == index]
        assert of_item[0]["item"]["id"] == of_item[-1]["item"]["id"] == item["id"]
        assert of_item[-1]["item"] == item
        pieces = "".join(event["delta"] for event in of_item if event["type"].endswith(".delta"))
        assert pieces == (item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"])
        assert {event["item_id"] for event in of_item if "item_id" in event} <= {item["id"]}
    places = [event["output_index"] for event in events if "output_index" in event]
    assert places == sorted(places)
    assert len({item["id"] for item in final(events)["output"]}) == len(final(events)["output"])


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=3).map("".join), min_size=1, max_size=5))
def test_several_deltas_in_one_chunk_are_several_events(said: list[str]) -> None:
    together: JsonObject = {"choices": list(itertools.chain(*(words(text)["choices"] for text in said)))}
    assert events_of(together) == events_of(*map(words, said))
