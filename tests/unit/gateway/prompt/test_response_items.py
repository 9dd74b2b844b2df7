"""Items of a response's input become messages, calls and results where they belong; what cannot is named by place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.response_object import ResponseObject
from gateway.domain import JsonObject, RequestId
from gateway.errors import InvalidRequest
from gateway.prompt.response_items import Chat, chat_of, listed
from tests.fakes.samples import data_url, input_audio, sample

PICTURE = data_url("image/png", sample("picture.png"))
HELLO: JsonObject = {"role": "user", "content": "Hello"}
REASONING: JsonObject = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "…"}
SAID: JsonObject = {"type": "message", "role": "assistant", "content": "Let me see."}


def where(index: int) -> str:
    """Return what an item is called in a refusal."""
    return f"input[{index}]"


def chat(*items: Any) -> Chat:
    """Return items as a chat."""
    return chat_of(items, where)


def messages(*items: Any) -> list[JsonObject]:
    """Return the messages of items."""
    return list(chat(*items).messages)


def called(identity: str, name: str = "look", arguments: str = "{}", **fields: Any) -> JsonObject:
    """Return an item that calls a function."""
    return {"type": "function_call", "call_id": identity, "name": name, "arguments": arguments, **fields}


def call(identity: str, name: str = "look", arguments: str = "{}") -> JsonObject:
    """Return the same in a message."""
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(identity: str, output: Any = "found") -> JsonObject:
    """Return an item that answers a call."""
    return {"type": "function_call_output", "call_id": identity, "output": output}


def user(*parts: Any) -> JsonObject:
    """Return a user's item of parts."""
    return {"role": "user", "content": list(parts)}


def text(words: str, kind: str = "input_text") -> JsonObject:
    """Return a part of words."""
    return {"type": kind, "text": words}


def refusal(*items: Any) -> InvalidRequest:
    """Return how items are refused."""
    with pytest.raises(InvalidRequest) as caught:
        chat(*items)
    assert caught.value.status == 400
    return caught.value


# Messages.


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
@pytest.mark.parametrize("kind", [{}, {"type": "message"}, {"type": None}, {"type": ""}])
def test_words_of_every_role_stay_words(role: str, kind: JsonObject) -> None:
    assert messages({**kind, "role": role, "content": "x"}) == [{"role": role, "content": "x"}]


@pytest.mark.parametrize("kind", ["input_text", "output_text", "text"])
def test_one_part_of_words_is_written_as_the_words(kind: str) -> None:
    for role in ("user", "system", "developer", "assistant"):
        assert messages({"role": role, "content": [text("x", kind)]}) == [{"role": role, "content": "x"}]


def test_several_parts_of_an_assistant_are_one_text_and_those_of_a_system_are_lines() -> None:
    parts = [text("one", "output_text"), text("two", "output_text")]
    assert messages({"role": "assistant", "content": parts}) == [{"role": "assistant", "content": "onetwo"}]
    assert messages({"role": "system", "content": parts}) == [{"role": "system", "content": "one\ntwo"}]
    assert messages({"role": "developer", "content": parts}) == [{"role": "developer", "content": "one\ntwo"}]


def test_a_refusal_is_words_of_the_assistants() -> None:
    item = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert messages(item) == [{"role": "assistant", "content": "No."}]


def test_parts_of_a_user_are_those_of_a_chat() -> None:
    image = {"type": "input_image", "image_url": PICTURE, "detail": "low", "file_id": None}
    assert messages(user(text("one"), image, input_audio(), text("two", "text"))) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "one"},
                {"type": "image_url", "image_url": {"url": PICTURE}},
                input_audio(),
                {"type": "text", "text": "two"},
            ],
        }
    ]


def test_one_image_alone_stays_a_part() -> None:
    (made,) = messages(user({"type": "input_image", "image_url": PICTURE}))
    assert made["content"] == [{"type": "image_url", "image_url": {"url": PICTURE}}]


def test_what_says_nothing_to_the_model_is_passed_over() -> None:
    part = {**text("x", "output_text"), "annotations": [], "logprobs": [{"token": "x"}]}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    assert messages(item) == [{"role": "assistant", "content": "x"}]
    assert messages(called("c", id="fc_1", status="completed")) == messages(called("c"))


# Calls and results.


def test_a_call_alone_is_a_message_without_words() -> None:
    assert messages(HELLO, called("c", "look", '{"a":1}')) == [
        HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call("c", "look", '{"a":1}')]},
    ]


def test_calls_of_one_turn_are_one_message_and_the_next_turns_are_another() -> None:
    made = chat(HELLO, called("a"), called("b"), result("a"), result("b", "…"), called("c"), result("c"), SAID)
    assert list(made.messages) == [
        HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "found"},
        {"role": "tool", "tool_call_id": "b", "content": "…"},
        {"role": "assistant", "content": None, "tool_calls": [call("c")]},
        {"role": "tool", "tool_call_id": "c", "content": "found"},
        {"role": "assistant", "content": "Let me see."},
    ]
    assert made.items == (0, 1, 3, 4, 5, 6, 7)
    assert made.calls == ((), (1, 2), (), (), (5,), (), ())


def test_calls_stand_with_the_words_before_them() -> None:
    made = chat(HELLO, SAID, called("a"), called("b"))
    assert made.messages[1:] == ({"role": "assistant", "content": "Let me see.", "tool_calls": [call("a"), call("b")]},)
    assert (made.items, made.calls) == ((0, 1), ((), (2, 3)))


def test_words_after_a_call_are_a_message_of_their_own() -> None:
    assert messages(called("a"), SAID, called("b")) == [
        {"role": "assistant", "content": None, "tool_calls": [call("a")]},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call("b")]},
    ]


def test_reasoning_is_left_out_and_parts_nothing() -> None:
    made = chat(REASONING, HELLO, REASONING, SAID, REASONING, called("a"), REASONING, called("b"), REASONING)
    assert list(made.messages) == messages(HELLO, SAID, called("a"), called("b"))
    assert (made.items, made.calls) == ((1, 3), ((), (5, 7)))


def test_a_call_is_never_put_to_what_no_assistant_said() -> None:
    odd = {**result("a"), "role": "assistant"}
    assert messages(called("a"), odd, called("b"))[1:] == [
        {"role": "tool", "tool_call_id": "a", "content": "found"},
        {"role": "assistant", "content": None, "tool_calls": [call("b")]},
    ]


def test_a_result_may_be_parts_of_words() -> None:
    (made,) = messages(result("a", [text("one"), text("two", "output_text")]))
    assert made["content"] == [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]


def test_no_item_is_changed() -> None:
    items = [HELLO, SAID, called("a"), called("b"), result("a"), REASONING]
    before = repr(items)
    chat(*items)
    listed(items, str)
    assert repr(items) == before


def test_the_time_for_many_calls_grows_as_they_do() -> None:
    started = time.process_time()
    chat(*[called("c")] * 40_000)
    assert time.process_time() - started < 2


# Refusals.


@pytest.mark.parametrize(
    ("item", "place"),
    [
        (5, ""),
        (None, ""),
        ([HELLO], ""),
        ({"type": "computer_call"}, ".type"),
        ({"type": "item_reference", "id": "msg_1"}, ".type"),
        ({"type": ["message"]}, ".type"),
        ({"type": {"a": 1}}, ".type"),
        ({"content": "x"}, ".role"),
        ({"role": "tool", "content": "x"}, ".role"),
        ({"role": ["user"], "content": "x"}, ".role"),
        ({"role": "user"}, ".content"),
        ({"role": "user", "content": None}, ".content"),
        ({"role": "user", "content": []}, ".content"),
        ({"role": "user", "content": {"type": "input_text"}}, ".content"),
        (user("x"), ".content[0]"),
        (user(None), ".content[0]"),
        (user({}), ".content[0]"),
        (user(text("x"), {"type": "input_text"}), ".content[1]"),
        (user(text("x"), {"type": "input_text", "text": 5}), ".content[1]"),
        (user(text("x"), {"type": ["input_text"], "text": "x"}), ".content[1]"),
        (user({"type": {"a": 1}}), ".content[0]"),
        (user({"type": "input_file", "file_id": "file_1"}), ".content[0]"),
        (user({"type": "image_url", "image_url": {"url": PICTURE}}), ".content[0]"),
        (user(text("x"), {"type": "input_image", "file_id": "file_1"}), ".content[1].image_url"),
        (user({"type": "input_image", "image_url": {"url": PICTURE}}), ".content[0].image_url"),
        ({"role": "system", "content": [{"type": "input_image", "image_url": PICTURE}]}, ".content[0]"),
        ({"role": "assistant", "content": [text("x"), {"type": "refusal"}]}, ".content[1]"),
        (result("a", None), ".output"),
        (result("a", 5), ".output"),
        (result("a", {"a": 1}), ".output"),
        (result("a", []), ".output"),
        (result("a", ["x"]), ".output[0]"),
        (result("a", [text("x"), {"type": "input_image", "image_url": PICTURE}]), ".output[1]"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(item: Any, place: str) -> None:
    error = refusal(HELLO, REASONING, item)
    assert error.param == f"input[2]{place}"
    assert error.message.startswith(f"'input[2]{place}' must be ")
    assert error.code == "invalid_value"


def test_a_place_is_called_what_the_caller_says() -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat_of([HELLO, {"role": "nobody", "content": "x"}], lambda index: f"place {index}")
    assert caught.value.param == "place 1.role"


# Items as they are listed.


def names(index: int) -> str:
    """Return an id for an item that has none."""
    return f"new_{index}"


def test_a_listed_item_has_an_id_a_type_a_status_and_parts() -> None:
    assert listed([HELLO, SAID, called("a"), result("a")], names) == [
        {**HELLO, "id": "new_0", "type": "message", "status": "completed", "content": [text("Hello")]},
        {
            **SAID,
            "id": "new_1",
            "status": "completed",
            "content": [{**text("Let me see.", "output_text"), "annotations": []}],
        },
        {**called("a"), "id": "new_2", "status": "completed"},
        {**result("a"), "id": "new_3", "status": "completed"},
    ]


def test_what_an_item_says_of_itself_is_kept() -> None:
    said = {"id": "msg_1", "type": "message", "role": "user", "content": [text("x")], "status": "incomplete"}
    assert listed([said, REASONING], names) == [said, REASONING]
    assert listed([{**HELLO, "id": ""}], names)[0]["id"] == "new_0"


@st.composite
def inputs(draw: st.DrawFn) -> list[JsonObject]:
    """Any input that a chat can be made of."""
    words = st.text(max_size=4)
    kinds = st.sampled_from(["input_text", "output_text", "text"])
    parts = st.lists(st.builds(text, words, kinds), min_size=1, max_size=3)
    roles = st.sampled_from(["user", "system", "developer", "assistant"])
    said = st.builds(lambda role, content: {"role": role, "content": content}, roles, words | parts)
    items = said | st.builds(called, words) | st.builds(result, words, words | parts) | st.just(REASONING)
    return draw(st.lists(items, max_size=8))


@given(inputs())
def test_listed_items_are_the_same_chat_and_are_listed_as_they_are(items: list[JsonObject]) -> None:
    kept = listed(items, names)
    assert chat(*kept) == chat(*items)
    assert listed(kept, names) == kept
    assert [each["id"] for each in kept] == [item.get("id") or names(index) for index, item in enumerate(items)]


@given(inputs(), inputs())
def test_every_message_knows_the_items_that_it_is_made_of(first: list[JsonObject], then: list[JsonObject]) -> None:
    items = first + then
    made = chat(*items)
    assert len(made.messages) == len(made.items) == len(made.calls)
    for message, begin, calls in zip(made.messages, made.items, made.calls, strict=True):
        assert len(message.get("tool_calls", ())) == len(calls)
        assert [items[index]["call_id"] for index in calls] == [each["id"] for each in message.get("tool_calls", ())]
        assert all(index >= begin for index in calls)
        assert items[begin].get("type") != "reasoning"
    used = sorted({*made.items, *(index for calls in made.calls for index in calls)})
    assert used == [index for index, item in enumerate(items) if item.get("type") != "reasoning"]


# There and back.

CALLS = st.lists(st.builds(call, st.text(min_size=1), st.text(), st.text()), max_size=4)


def answered(words: str | None, calls: Sequence[JsonObject]) -> JsonObject:
    """Return an answer as a chat's message."""
    return {"role": "assistant", "content": words, **({"tool_calls": list(calls)} if calls else {})}


@given(st.none() | st.text(), CALLS, st.sampled_from(["stop", "tool_calls", "length", None]), inputs())
def test_an_answer_that_comes_back_as_items_is_the_answer(
    words: str | None, calls: list[JsonObject], reason: str | None, before: list[JsonObject]
) -> None:
    response = ResponseObject(RequestId("req_1f"), "m", {}, 1, store=True)
    output = response.output_of({"message": answered(words, calls), "finish_reason": reason})
    assert messages(HELLO, *output) == [HELLO, answered(words or (None if calls else ""), calls)]
    assert messages(*before, HELLO, *listed(output, names)) == [*messages(*before), HELLO, *messages(*output)]
    assert len({item["id"] for item in output}) == len(output)
